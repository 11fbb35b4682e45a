import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import type { Lane } from "../../lab.ts";
import {
  sharesOf,
  timelineOf,
  timelineText,
} from "../../cli/commands/bench/timeline.ts";
import { timelineSvg } from "../../cli/commands/bench/timeline_svg.ts";
import { runCli } from "./run_cli.ts";

const event = (
  activity: Lane["events"][number]["activity"],
  start: number,
  end: number,
) => ({ activity, layer: 1, start: 1000 + start, end: 1000 + end });
const lanes: Lane[] = [
  { kind: "cpu", events: [event("neurons", 2, 5), event("wait", 5, 10)] },
  { kind: "cpu", events: [event("wait", 0, 4), event("neurons", 4, 7)] },
  { kind: "gpu host", events: [event("read-back", 0, 3)] },
  { kind: "gpu", events: [event("attention", 0, 3), event("neurons", 6, 9)] },
];

Deno.test("the shares of a token are those of the time that lanes compute", () => {
  const timeline = timelineOf("tg1", lanes);
  assert.equal(timeline.ms, 10);
  const { cpu, gpu, both } = sharesOf(timeline)!;
  assert.deepEqual([cpu, gpu, both].map((x) => x.toFixed(6)), [
    "0.500000",
    "0.600000",
    "0.200000",
  ]);
  assert.match(
    timelineText(timeline),
    /tg1: a token of 10\.00 ms; .* 20% of it/,
  );
  assert.match(
    timelineText(timelineOf("tg1", lanes.slice(0, 3))),
    /does not tell when/,
  );
  assert.match(
    timelineText(timelineOf("tg1", lanes.slice(0, 2))),
    /no GPU took part/,
  );
});

Deno.test("the picture has a bar for each stretch of time, a chart for each token", async () => {
  const svg = await timelineSvg("a <model>", [
    timelineOf("tg1", lanes),
    timelineOf("tg1 @ d9", lanes.slice(0, 2)),
  ]);
  const { document } = parseHTML(svg);
  assert.equal(
    document.querySelectorAll("g[aria-label=bar] rect").length,
    7 + 4,
  );
  assert(svg.includes("a &lt;model&gt;"));
  for (const name of ["CPU 1", "CPU 2", "GPU", "tg1 @ d9"]) {
    assert(svg.includes(`>${name}</text>`), name);
  }
});

Deno.test("bench --timeline draws a token, and says what it needs", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/token.svg`;
  const write = { permissions: [`--allow-read`, `--allow-write=${folder}`] };
  const args = ["bench", "-t", "1", "-r", "1", "-p", "0", "-n", "2"];
  try {
    const drawn = await runCli([...args, "--timeline", path], write);
    assert.equal(drawn.code, 0, drawn.err);
    assert.match(
      drawn.err,
      /tg2: a token of [\d.]+ ms; no GPU took part\nwrote /,
    );
    assert.match(await Deno.readTextFile(path), /^<svg .*<\/svg>\n$/s);
    const again = await runCli([...args, "--timeline", path], write);
    assert.match(again.err, /it is there already; --force replaces it/);
    const none = await runCli(
      ["bench", "-p", "8", "-n", "0", "--timeline", path],
      write,
    );
    assert.match(none.err, /Cannot draw a timeline without single tokens/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
