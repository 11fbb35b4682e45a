import assert from "node:assert/strict";
import { scatterPays } from "../../src/plan/scatter.ts";

/** A core that reads 30 GB/s of rows, and multiplies 40 GB/s of them with a token. */
const rates = { stream: 30e6, tiles: 40e6, scatter: 0.9 };

Deno.test("products that few tokens need are computed one by one", () => {
  for (const tokens of [2, 4, 8, 128]) {
    assert(scatterPays(rates, tokens, 0.1));
    assert(!scatterPays(rates, tokens, 0.95));
  }
});

Deno.test("the more tokens, the more of the products may be needed", () => {
  const border = (tokens: number) => {
    let percent = 0;
    while (scatterPays(rates, tokens, percent / 100)) percent++;
    return percent;
  };
  // Two tokens: all take 2 / 40. Of a third of them, as many as 0.67 / 36 do,
  // most rows are needed by one of the two: 0.56 of them, picked, 1.6 * 0.56 / 30.
  assert.equal(border(2), 35);
  assert.equal(border(4), 60);
  assert.equal(border(8), 75);
  // Without end what counts is how fast the products are.
  assert.equal(border(1e6), 90);
});

Deno.test("where memory is slower than products, no row is read for nothing", () => {
  const slow = { stream: 5e6, tiles: 40e6, scatter: 0.9 };
  // Eight tokens need most rows, and their products wait for them anyway.
  assert(!scatterPays(slow, 8, 0.39));
  assert(scatterPays(slow, 2, 0.2));
});
