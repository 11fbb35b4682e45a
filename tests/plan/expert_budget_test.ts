import assert from "node:assert/strict";
import fc from "fast-check";
import { LimitError } from "../../src/errors.ts";
import type { Model } from "../../src/model/model.ts";
import { residentExperts } from "../../src/plan/expert_budget.ts";

const expertCount = 8, used = 2, size = 4;

/** As much of a mixture of two layers as the decision looks at. */
const model = {
  layers: [{}, {}],
  expertCount,
  feedForwardSize: expertCount * size,
  routing: { used },
} as unknown as Model;

/** Neurons of expert e fire for `uses[layer][e]` tokens. */
function profileOf(uses: readonly (readonly number[])[]) {
  const layers = uses.map((counts) => {
    const gatePositive = Uint32Array.from(
      { length: expertCount * size },
      (_, neuron) =>
        neuron % size === 1 ? counts[Math.floor(neuron / size)] : 0,
    );
    return { gatePositive, active: gatePositive };
  });
  return { tokens: 100, layers };
}

const counts = fc.array(fc.nat(100), {
  minLength: expertCount,
  maxLength: expertCount,
});

Deno.test("experts in memory fit the budget, each layer has those of a token, and no other would fit", () => {
  fc.assert(fc.property(
    fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 })),
    fc.nat(1000),
    fc.nat(1200),
    fc.option(fc.tuple(counts, counts), { nil: undefined }),
    (expertBytes, fixed, budget, uses) => {
      const profile = uses && profileOf(uses);
      const [a, b] = expertBytes;
      const decide = () =>
        residentExperts(model, { budget, fixed, expertBytes }, profile);
      const least = fixed + used * (a + b), all = fixed + expertCount * (a + b);
      if (budget < least) {
        return assert.throws(
          decide,
          (error) =>
            error instanceof LimitError &&
            error.message.includes(`budget of ${budget} bytes`) &&
            error.message.includes(`needs ${least} `),
        );
      }
      const layers = decide();
      if (budget >= all) return assert.equal(layers, undefined);
      const bytes = layers!.reduce(
        (sum, { loaded }, i) => sum + expertBytes[i] * loaded.length,
        fixed,
      );
      assert(bytes <= budget);
      layers!.forEach(({ loaded, pinned }, i) => {
        assert(loaded.length >= used);
        assert.deepEqual(loaded, [...new Set(loaded)].sort((x, y) => x - y));
        assert(pinned.every((expert) => loaded.includes(expert)));
        if (loaded.length === expertCount) {
          return assert.equal(pinned.length, expertCount);
        }
        assert(bytes + expertBytes[i] > budget);
        // What is not pinned has room for the experts of a token.
        assert(loaded.length - pinned.length >= used);
        if (!uses) return assert.equal(pinned.length, 0);
        const least = Math.min(...loaded.map((expert) => uses[i][expert]));
        uses[i].forEach((count, expert) =>
          assert(loaded.includes(expert) || count <= least)
        );
      });
    },
  ));
});

Deno.test("a layer whose experts are chosen more often has more of them in memory; without a profile layers are alike", () => {
  const budget = { budget: 90, fixed: 10, expertBytes: [10, 10] };
  const skewed = profileOf([[9, 8, 7, 6, 5, 4, 3, 2], Array(8).fill(1)]);
  const lengths = (profile?: typeof skewed) =>
    residentExperts(model, budget, profile)!
      .map(({ loaded }) => loaded.length);
  assert.deepEqual(lengths(), [4, 4]);
  assert.deepEqual(lengths(skewed), [6, 2]);
});
