import assert from "node:assert/strict";
import { formatBytes, formatDuration } from "../../cli/format.ts";
import { printable, printableLines, progressText } from "../../cli/terminal.ts";

Deno.test("bytes have three digits and a unit of 1024", () => {
  const shown: [number, string][] = [
    [0, "0 B"],
    [1023, "1020 B"],
    [1024, "1 KiB"],
    [8.21 * 2 ** 20, "8.21 MiB"],
    [23.5 * 2 ** 30, "23.5 GiB"],
  ];
  for (const [bytes, text] of shown) assert.equal(formatBytes(bytes), text);
});

Deno.test("durations are in seconds and what is longer", () => {
  const shown: [number, string][] = [
    [0, "0s"],
    [499, "0s"],
    [65_000, "1m 5s"],
    [3_599_900, "1h"],
    [90_061_000, "1d 1h 1m 1s"],
  ];
  for (const [ms, text] of shown) assert.equal(formatDuration(ms), text);
});

Deno.test("progress has a rate and the time left, of what this run has done", () => {
  const bytes = { unit: "bytes", before: 0 } as const;
  assert.equal(
    progressText(bytes, 2 ** 20, 2 ** 22, 0.5),
    "1 MiB of 4 MiB, 2 MiB/s, 2s left",
  );
  const tokens = { unit: "tokens", before: 100 } as const;
  assert.equal(
    progressText(tokens, 200, 500, 10),
    "200 of 500 tokens, 10.0/s, 30s left",
  );
  // Nothing is known yet.
  assert.equal(progressText(tokens, 100, 500, 10), "100 of 500 tokens");
  assert.equal(progressText(tokens, 200, 500, 0), "200 of 500 tokens");
});

Deno.test("what would steer a terminal is spelled out", () => {
  assert.equal(printable("a\x1b[2Jb\nc\x9b"), "a\\x1b[2Jb\\x0ac\\x9b");
  assert.equal(printableLines("a\x1b[2J\n\tb\r"), "a\\x1b[2J\n\tb\\x0d");
});
