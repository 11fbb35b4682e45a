import assert from "node:assert/strict";
import fc from "fast-check";
import {
  UnionCounter,
  unionSizes,
  unionWindows,
} from "../../../src/lab/sparsity/union.ts";

/** By size, the neurons of every window of so many consecutive tokens, added up. */
function naiveSums(tokens: readonly ReadonlySet<number>[]): number[] {
  return unionSizes.map((size) =>
    tokens.slice(size - 1).reduce((sum, _, first) => {
      const window = tokens.slice(first, first + size);
      return sum + new Set(window.flatMap((live) => [...live])).size;
    }, 0)
  );
}

Deno.test("unions are those of the sets of live neurons, for any text", () => {
  const token = fc.uniqueArray(fc.nat({ max: 11 }), { maxLength: 5 })
    .map((live) => new Set(live));
  fc.assert(
    fc.property(fc.array(token, { maxLength: 70 }), (tokens) => {
      const counter = new UnionCounter(12);
      for (const live of tokens) {
        assert.equal(counter.add((neuron) => live.has(neuron)), live.size);
      }
      assert.deepEqual(counter.sums, naiveSums(tokens));
      assert.deepEqual(
        unionWindows(tokens.length),
        unionSizes.map((size) => tokens.slice(size - 1).length),
      );
    }),
  );
});
