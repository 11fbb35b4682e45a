/** What bench/device.sh writes: a row for each run, in its place in a document. */
import assert from "node:assert/strict";
import { putFigures, render } from "../../bench/device/report.ts";

const text = render({
  machine: "a card",
  file: "a file",
  models: [
    {
      what: "all on the GPU",
      rates: { 1: 20, 512: 800.04, 2: 30 },
      gpuBytes: 1.5 * 2 ** 30,
      kernels: 194,
      submits: 1,
      readBacks: 1,
    },
    { what: "the CPU alone", rates: { 1: 10 } },
  ],
  kernels: "| kernel |",
  tests: "all passed",
  missing: ["both: no time was left"],
});

Deno.test("a run has a row, with its rates by the length of prompts", () => {
  const lines = text.split("\n");
  const row = (what: string) =>
    lines.find((line) => line.startsWith(`| ${what} `));
  assert.equal(
    row("tokens a second"),
    "| tokens a second | one by one | a step of 2 | a step of 512 | GiB on the GPU | kernels, submits, read-backs a token |",
  );
  assert.equal(
    row("all on the GPU"),
    "| all on the GPU | 20.0 | 30.0 | 800.0 | 1.50 | 194, 1, 1 |",
  );
  assert.equal(row("the CPU alone"), "| the CPU alone | 10.0 |  |  |  |  |");
  for (
    const part of [
      "a card; a file.",
      "| kernel |",
      "The GPU's tests: all passed.",
      "- both: no time was left",
    ]
  ) assert(lines.includes(part), part);
});

Deno.test("figures take the place of those before, and of nothing else", async () => {
  const document = await Deno.readTextFile("docs/gpu.md");
  const once = putFigures(document, "first");
  const twice = putFigures(once, text);
  assert.equal(putFigures(twice, "first"), once);
  const [before, behind] = twice.split(text);
  assert(document.startsWith(before.trimEnd()));
  assert(document.endsWith(behind.trimStart()));
  assert.throws(() => putFigures("no place", text), /are missing$/);
});
