import assert from "node:assert/strict";
import { FrameChoice } from "../../src/kernels/stack_frames.ts";

const columns = 4096;

/** What a choice has a product compute, where shifted rows take `shiftedTime` and others 1 ms each. */
function rowsOf(
  choice: FrameChoice,
  rows: number,
  tokens: number,
  shiftedTime: number,
) {
  const parts: { first: number; count: number; shifted: boolean }[] = [];
  const now = performance.now;
  let time = 0;
  performance.now = () => time;
  try {
    choice.run(rows, columns, tokens, (first, count, shifted) => {
      parts.push({ first, count, shifted });
      time += count * (shifted ? shiftedTime : 1);
    });
  } finally {
    performance.now = now;
  }
  return parts;
}

for (const [shiftedTime, shifted] of [[0.9, true], [1, false], [3, false]]) {
  Deno.test(`frames in which rows take ${shiftedTime} of the time: ${shifted ? "" : "not "}chosen`, () => {
    const parts = rowsOf(new FrameChoice(), 2050, 1, shiftedTime as number);
    assert.deepEqual(parts, [
      { first: 0, count: 128, shifted: false },
      { first: 128, count: 128, shifted: true },
      { first: 256, count: 1794, shifted },
    ]);
  });
}

Deno.test("a choice is kept for 16 tokens, then made anew", () => {
  const choice = new FrameChoice();
  rowsOf(choice, 2048, 1, 0.5);
  for (let token = 1; token < 16; token++) {
    assert.deepEqual(rowsOf(choice, 2048, 1, 2), [
      { first: 0, count: 2048, shifted: true },
    ]);
  }
  assert.equal(rowsOf(choice, 2048, 1, 2).at(-1)!.shifted, false);
  assert.equal(rowsOf(choice, 2048, 128, 0.5).at(-1)!.shifted, true);
});

Deno.test("what is too little to be timed is computed at once", () => {
  for (const [rows, tokens] of [[1, 1], [15, 1000], [1000, 1]]) {
    const parts = rowsOf(new FrameChoice(), rows, tokens, 0.5);
    assert.deepEqual(parts, [{ first: 0, count: rows, shifted: false }]);
  }
});
