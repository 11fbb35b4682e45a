import assert from "node:assert/strict";
import fc from "fast-check";
import { LimitError } from "../../src/errors.ts";
import { lengthOf } from "../../src/model/index_set.ts";
import { largestGroup } from "../../src/plan/groups.ts";
import {
  type NeuronBudget,
  residentNeurons,
  residentOfPlace,
} from "../../src/plan/neuron_budget.ts";
import type { Profile } from "../../src/plan/profile.ts";

const feedForwardSize = 384;
const matrices = [["ffn_up"], ["ffn_up"]] as const;

function profileOf(counts: readonly number[]): Profile {
  const layers = counts.map((count) => {
    const gatePositive = new Uint32Array(feedForwardSize).fill(count);
    return { gatePositive, active: gatePositive };
  });
  return { tokens: 100, layers };
}

Deno.test("neurons in memory fit the budget, each place has room for a group, and too small a budget is refused with both numbers", () => {
  fc.assert(fc.property(
    fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
    fc.nat(1000),
    fc.nat(1000),
    fc.nat(9000),
    fc.constantFrom([384], [192, 192], [128, 128, 128]),
    fc.option(fc.tuple(fc.nat(100), fc.nat(100)), { nil: undefined }),
    (neuronBytes, fixed, scratch, budget, places, uses) => {
      const asked: NeuronBudget = {
        budget,
        fixed,
        scratch,
        neuronBytes,
        matrices,
        places,
      };
      const decide = () =>
        residentNeurons({ feedForwardSize }, asked, uses && profileOf(uses));
      const [a, b] = neuronBytes;
      if (fixed + feedForwardSize * (a + b) <= budget) {
        return assert.equal(decide(), undefined);
      }
      const least = fixed + scratch + 64 * places.length * (a + b);
      if (budget < least) {
        return assert.throws(
          decide,
          (error) =>
            error instanceof LimitError &&
            error.message.includes(`budget of ${budget} bytes`) &&
            error.message.includes(`needs ${least} `),
        );
      }
      let bytes = fixed + scratch;
      decide()!.forEach((layer, i) => {
        let start = 0;
        for (const rows of places) {
          const neurons = { start, end: start += rows };
          const own = residentOfPlace(layer, neurons, feedForwardSize);
          const loaded = own?.loaded ?? lengthOf(neurons);
          bytes += loaded * neuronBytes[i];
          if (!own) continue;
          assert(own.loaded - own.pinned >= largestGroup(feedForwardSize));
          assert.equal(own.pinned > 0 && !uses, false);
        }
      });
      assert(bytes <= budget);
    },
  ));
});

Deno.test("a layer whose gates are positive more often has more of its neurons in memory; without a profile layers are alike", () => {
  const budget = {
    budget: 384,
    fixed: 0,
    scratch: 0,
    neuronBytes: [1, 1],
    matrices,
    places: [384],
  };
  const counts = (profile?: Profile) =>
    residentNeurons({ feedForwardSize }, budget, profile)!
      .map(({ count }) => count);
  assert.deepEqual(counts(), [192, 192]);
  assert.deepEqual(counts(profileOf([9, 1])), [320, 64]);
});
