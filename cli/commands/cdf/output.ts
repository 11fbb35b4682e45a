/**
 * How activations are spread over neurons, in the forms in which it is shown.
 *
 * @module
 */
import {
  type ActivationCdf,
  activationCdf,
  activationShare,
  bambooCdf,
  meanActivationShare,
  type Profile,
} from "../../../plan.ts";
import { formatMarkdown } from "../../format.ts";
import {
  drawing,
  framed,
  layerColours,
  type Panel,
  type Size,
  withLayerBar,
} from "../../svg.ts";

/** One model's layers. */
export interface CdfReport {
  /** What was counted, for people */
  readonly name: string;
  /** Tokens that were counted, where that is known */
  readonly tokens?: number;
  /** Share of a layer's neurons that fire for a token, mean over layers; known where `tokens` are */
  readonly active?: number;
  readonly cdfs: readonly ActivationCdf[];
}

/** The layers of a profile. */
export function cdfReport(name: string, profile: Profile): CdfReport {
  const { tokens, layers } = profile;
  const fired = layers.map(({ active }) =>
    active.reduce((sum, count) => sum + count, 0) / active.length
  );
  return {
    name,
    tokens,
    active: fired.reduce((sum, count) => sum + count, 0) /
      (fired.length * Math.max(1, tokens)),
    cdfs: activationCdf(profile),
  };
}

/** Shares of neurons of which the table has the activations. */
const shares = [0.01, 0.05, 0.1, 0.2, 0.26, 0.3, 0.5];
/** Where layers are compared. */
const comparedAt = 0.2;

/** The layers whose hottest neurons take the least, and the most, of all activations. */
function extremesOf(
  cdfs: readonly ActivationCdf[],
): { flattest: number; steepest: number } {
  const at = cdfs.map((cdf) => activationShare(cdf, comparedAt));
  return {
    flattest: at.indexOf(Math.min(...at)),
    steepest: at.indexOf(Math.max(...at)),
  };
}

/** Mean shares, a column a model, the last one Bamboo-7B's as published; headings first. */
export function rowsOf(reports: readonly CdfReport[]): string[][] {
  const published = new Map(bambooCdf);
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  return [
    [
      "hottest neurons",
      ...reports.map(({ name }) => name),
      "Bamboo-7B, published",
    ],
    ...shares.map((share) => [
      `${Math.round(100 * share)}%`,
      ...reports.map(({ cdfs }) => percent(meanActivationShare(cdfs, share))),
      percent(published.get(share)!),
    ]),
    ...(["flattest", "steepest"] as const).map((which) => [
      `20%, ${which} layer`,
      ...reports.map(({ cdfs }) => {
        const layer = extremesOf(cdfs)[which];
        return `${
          percent(activationShare(cdfs[layer], comparedAt))
        } (${layer})`;
      }),
      which === "flattest" ? "(31)" : "(21)",
    ]),
    [
      "fire for a token",
      ...reports.map(({ active }) =>
        active === undefined ? "not known" : percent(active)
      ),
      "14.8%",
    ],
  ];
}

/** {@linkcode rowsOf} as a table in Markdown. */
export function toTable(reports: readonly CdfReport[]): string {
  return formatMarkdown(rowsOf(reports), 1);
}

/** Everything as JSON: each layer's shares at every percent of its neurons. */
export function toJson(reports: readonly CdfReport[]): string {
  const all = reports.map(({ cdfs, ...rest }) => ({
    ...rest,
    means: Object.fromEntries(
      shares.map((share) => [share, meanActivationShare(cdfs, share)]),
    ),
    layers: cdfs.map((cdf) =>
      Array.from({ length: 101 }, (_, i) => activationShare(cdf, i / 100))
    ),
  }));
  return JSON.stringify(all, undefined, 2) + "\n";
}

const columns = 40, rows = 12;

/** Pictures of characters, two beside one another: the mean of the layers, and the band that they fill. */
export function toPicture(reports: readonly CdfReport[]): string {
  const pictures = reports.map(pictureOf);
  let text = "";
  for (let i = 0; i < pictures.length; i += 2) {
    const [left, right = []] = pictures.slice(i, i + 2);
    text += left.map((line, row) =>
      `${line.padEnd(columns + 10)}${right[row] ?? ""}`.trimEnd() + "\n"
    ).join("") + "\n";
  }
  return text;
}

function pictureOf({ name, cdfs }: CdfReport): string[] {
  const marks = Array.from({ length: columns }, (_, x) => {
    const share = (x + 1) / columns;
    const at = cdfs.map((cdf) => activationShare(cdf, share));
    const rowOf = (value: number) =>
      Math.min(rows - 1, Math.floor(value * rows));
    return {
      low: rowOf(Math.min(...at)),
      high: rowOf(Math.max(...at)),
      mean: rowOf(meanActivationShare(cdfs, share)),
    };
  });
  const lines = Array.from({ length: rows }, (_, i) => {
    const row = rows - 1 - i;
    const label = i === 0 ? "100%" : row === rows / 2 - 1 ? " 50%" : "    ";
    const cells = marks.map(({ low, high, mean }) =>
      row === mean ? "●" : row >= low && row <= high ? "░" : " "
    );
    return `${label} │${cells.join("")}`;
  });
  const half = columns / 2;
  return [
    `     ${name.slice(0, columns)}`,
    ...lines,
    `  0% └${"─".repeat(columns)}`,
    `      0%${"50%".padStart(half)}${"100% of neurons".padStart(half + 2)}`,
  ];
}

const size = { width: 460, height: 400 };
/** Points of a curve in the picture. */
const points = 200;

/** The figure: one line a layer, one chart a model, and Bamboo-7B's published mean. */
export async function toSvg(reports: readonly CdfReport[]): Promise<string> {
  const panels = await Promise.all(reports.map(panelOf));
  return framed(
    ["Share of activations by share of neurons"],
    panels,
    panels[0].size,
  );
}

async function panelOf(
  { name, tokens, cdfs }: CdfReport,
): Promise<Panel & { size: Size }> {
  const { plot: { line, text }, chart } = await drawing();
  const curves = cdfs.flatMap((cdf, layer) =>
    Array.from({ length: points + 1 }, (_, i) => ({
      layer,
      neurons: 100 * i / points,
      activations: 100 * activationShare(cdf, i / points),
    }))
  );
  const published = bambooCdf.map(([neurons, activations]) => ({
    neurons: 100 * neurons,
    activations: 100 * activations,
  }));
  const { flattest, steepest } = extremesOf(cdfs);
  const notes = [
    `steepest: layer ${steepest}, flattest: layer ${flattest}`,
    "dashed: mean of Bamboo-7B, as published",
  ];
  const curve = { x: "neurons", y: "activations" };
  const svg = chart({
    ...size,
    marginLeft: 56,
    marginBottom: 44,
    x: { label: "% of a layer's neurons, hottest first", grid: true, ticks: 5 },
    y: { label: "% of its activations", grid: true, ticks: 5 },
    color: layerColours(cdfs.length),
    marks: [
      line(curves, { ...curve, z: "layer", stroke: "layer", strokeWidth: 1.5 }),
      line(published, {
        ...curve,
        stroke: "black",
        strokeWidth: 1.5,
        strokeDasharray: "4,3",
      }),
      ...notes.map((note, i) =>
        text([note], {
          frameAnchor: "bottom-right",
          dx: -6,
          dy: -8 - 18 * (notes.length - 1 - i),
        })
      ),
    ],
  });
  return {
    title: tokens === undefined ? name : `${name}, ${tokens} tokens`,
    ...await withLayerBar(svg, size, cdfs.length),
  };
}
