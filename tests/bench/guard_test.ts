import assert from "node:assert/strict";
import { ratioOf, verdictOf } from "../../bench/guard/ratios.ts";
import { settings } from "../../bench/guard/rows.ts";
import { median } from "../../cli/commands/bench/roofline.ts";

Deno.test("takes the middle value, or the mean of two", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([10, 9]), 9.5);
});

Deno.test("compares the fastest turns of a round", () => {
  assert.equal(ratioOf({ base: [12, 10, 40], here: [8, 30, 16] }), 1.25);
  assert.equal(ratioOf({ base: [9], here: [10] }), 0.9);
});

Deno.test("a row is slower by the median of its rounds, not by any one of them", () => {
  const round = (base: number, here: number) => ({
    base: [base, base * 3],
    here: [here * 2, here],
  });
  const rounds = [
    round(100, 200), // Disturbed
    round(100, 100),
    round(120, 125),
    round(50, 50),
    round(300, 100), // Disturbed
  ];
  assert.deepEqual(verdictOf(rounds, 0.95), {
    ratio: 1,
    least: 0.5,
    most: 3,
    baseMs: 100,
    hereMs: 100,
    isSlower: false,
  });
  const slow = Array.from({ length: 7 }, () => round(94, 100));
  assert.equal(verdictOf(slow, 0.95).ratio, 0.94);
  assert.equal(verdictOf(slow, 0.95).isSlower, true);
  assert.equal(verdictOf(slow, 0.94).isSlower, false);
});

Deno.test("the guard has ten rows that every machine can run", () => {
  const rows = settings
    .filter(({ model }) => !model?.includes("SmolLM2"))
    .flatMap(({ works }) => works);
  assert.equal(rows.length, 10);
});
