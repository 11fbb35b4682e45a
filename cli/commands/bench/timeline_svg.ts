/**
 * Timelines as a picture: a row for each thread and for the GPU.
 *
 * @module
 */
import type { Lane, TraceEvent } from "../../../lab.ts";
import { drawing, escaped, framed, legend, lineHeight } from "../../svg.ts";
import { type Timeline, timelineText } from "./timeline.ts";

const width = 1100, rowHeight = 34;
/** A layer's number is written into what is so many pixels wide. */
const leastLabelled = 16;

/** What each is called in the legend, and its colour. */
const activities: Readonly<
  Record<TraceEvent["activity"], readonly [name: string, colour: string]>
> = {
  embed: ["embedding", "#b07aa1"],
  attention: ["attention", "#4e79a7"],
  neurons: ["neurons", "#59a14f"],
  head: ["output head", "#f28e2b"],
  "read-back": ["waiting for the GPU's results", "#f4c7a1"],
  wait: ["waiting for the others", "#e3e3e3"],
};

/** An SVG of a chart for each token, below one another. */
export async function timelineSvg(
  title: string,
  timelines: readonly Timeline[],
): Promise<string> {
  const { plot: { barX, text }, chart } = await drawing();
  const longest = Math.max(...timelines.map(({ ms }) => ms));
  const events = timelines.flatMap(({ name, lanes }) =>
    namesOf(lanes).flatMap((lane, i) =>
      lanes[i].events.map((event) => ({ ...event, lane, name }))
    )
  );
  const pixels = ({ start, end }: TraceEvent) =>
    width * (end - start) / longest;
  const rows = timelines.reduce((sum, { lanes }) => sum + lanes.length, 0);
  const top = lineHeight * (timelines.length + 2);
  const height = top + rows * rowHeight + 54;
  const place = { y: "lane", fy: "name" };
  const svg = chart({
    width,
    height,
    marginLeft: 100,
    marginRight: 60,
    marginTop: top,
    marginBottom: 44,
    x: { label: "ms", domain: [0, longest], grid: true },
    y: {
      label: null,
      domain: [...new Set(timelines.flatMap(({ lanes }) => namesOf(lanes)))],
    },
    fy: { label: null, domain: timelines.map(({ name }) => name) },
    color: {
      domain: Object.keys(activities),
      range: Object.values(activities).map(([, colour]) => colour),
    },
    marks: [
      barX(events, { ...place, x1: "start", x2: "end", fill: "activity" }),
      text(
        events.filter((event) =>
          event.layer !== undefined && event.activity !== "wait" &&
          pixels(event) >= leastLabelled
        ),
        {
          ...place,
          x: ({ start, end }: TraceEvent) => (start + end) / 2,
          text: "layer",
          fill: "black",
          fontSize: 12,
        },
      ),
    ],
  });
  const lines = timelines.map((timeline, i) =>
    `<text x="0" y="${lineHeight * (i + 1) - 6}">${
      escaped(timelineText(timeline))
    }</text>`
  );
  const notes = `<g text-anchor="start">${
    lines.join("")
  }<g transform="translate(0,${lineHeight * (timelines.length + 1) - 6})">${
    legend(Object.values(activities))
  }</g></g>`;
  return framed(
    [title],
    [{ svg: svg.replace(/<\/svg>$/, `${notes}</svg>`) }],
    { width, height },
  );
}

/** For people: CPU places are numbered from 1. */
function namesOf(lanes: readonly Lane[]): string[] {
  let cpu = 0;
  return lanes.map(({ kind }) => {
    if (kind === "cpu") return `CPU ${++cpu}`;
    return kind === "gpu" ? "GPU" : "GPU's thread";
  });
}
