import assert from "node:assert/strict";
import fc from "fast-check";
import {
  powerInferSplit,
  splitByFrequency,
  uniformSplit,
} from "../../src/plan/splits.ts";
import { lengthOf } from "../../src/model/index_set.ts";
import { predict } from "../../src/plan/prediction.ts";
import { randomCosts } from "../helpers/random_costs.ts";
import { randomModel } from "../helpers/random_model.ts";

const frequencies = fc.array(
  fc.array(fc.nat(1000), { minLength: 6, maxLength: 6 })
    .map((layer) => layer.sort((a, b) => b - a)),
  { minLength: 1, maxLength: 4 },
);

/** All ways to take groups of every layer. */
function* everyCount(layers: number, most: number): Generator<number[]> {
  for (let code = 0; code < (most + 1) ** layers; code++) {
    yield Array.from(
      { length: layers },
      (_, i) => Math.floor(code / (most + 1) ** i) % (most + 1),
    );
  }
}

Deno.test("splitByFrequency takes as many activations as any split within capacity, groups and least", () => {
  fc.assert(
    fc.property(
      frequencies,
      fc.nat(26),
      fc.constantFrom(1, 2, 3),
      fc.nat(4),
      (layers, capacity, group, least) => {
        const sumOf = (counts: number[]) =>
          counts.reduce(
            (sum, count, i) =>
              sum + layers[i].slice(0, count).reduce((a, b) => a + b, 0),
            0,
          );
        const allowed = (counts: number[]) =>
          counts.every((count) => count === 0 || count >= least) &&
          counts.reduce((a, b) => a + b, 0) <= capacity;
        const chosen = splitByFrequency(layers, capacity, group, least);
        assert(allowed(chosen), String(chosen));
        assert(chosen.every((count) => count % group === 0));
        let best = 0;
        for (const groups of everyCount(layers.length, 6 / group)) {
          const counts = groups.map((count) => count * group);
          if (allowed(counts)) best = Math.max(best, sumOf(counts));
        }
        assert.equal(sumOf(chosen), best);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("the splits to compare with hold the budget, and are not slower than the CPU alone where they choose", async () => {
  const { model } = await randomModel({
    layerCount: 4,
    feedForwardSize: 64,
    vocabSize: 8,
  });
  fc.assert(
    fc.property(fc.nat(), fc.nat(6000), (seed, budget) => {
      const { costs, bytesOf } = randomCosts(model, seed);
      const options = { budget, bytesOf };
      const uniform = uniformSplit(model, costs, options, 8);
      const powerInfer = powerInferSplit(model, costs, options);
      for (const { gpu, bytes } of [uniform, powerInfer]) {
        assert(bytes <= budget || !gpu);
        assert.equal(bytes, gpu ? bytesOf(gpu) : 0);
      }
      assert(uniform.prediction.ms <= predict(model, costs).ms);
      const counts = uniform.gpu?.parts.map(({ neurons }) =>
        lengthOf(neurons)
      ) ?? [];
      // Alike in each layer, or the last layers whole.
      const sorted = [...counts].sort((a, b) => a - b);
      assert.deepEqual(counts, sorted);
      assert(new Set(counts).size <= 1 || sorted.every((n) => n % 64 === 0));
    }),
    { numRuns: 60 },
  );
});

Deno.test("a budget without a limit takes everything, and as much room as the neurons need", async () => {
  assert.deepEqual(splitByFrequency([[3, 1], [2, 0, 0]], Infinity, 2), [2, 2]);
  const { model } = await randomModel({ feedForwardSize: 64, vocabSize: 8 });
  const { costs, bytesOf } = randomCosts(model, 1);
  const { gpu } = powerInferSplit(model, costs, { budget: Infinity, bytesOf });
  assert.equal(gpu?.vocab.end, 8);
  for (const { heads, neurons } of gpu!.parts) {
    assert.deepEqual([lengthOf(heads) > 0, lengthOf(neurons)], [true, 64]);
  }
});
