/**
 * Models without experts of which a memory budget holds the rows of some
 * neurons: the logits are those of the whole model, to the last bit.
 */
import assert from "node:assert/strict";
import { totalOf } from "../../src/places/stats.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { budgetsOf, ModelFile, runOn } from "../helpers/budgets.ts";
import type { RandomModelOptions } from "../helpers/random_model.ts";
import { randomProfile } from "../helpers/teams.ts";

/** Six groups of neurons that are summed apart. */
const sizes = { layerCount: 3, feedForwardSize: 384 };

const models: Record<string, [RandomModelOptions, Sparsity?]> = {
  "rows of outputs": [{ type: "Q8_0" }],
  "rows of neurons": [{ type: "Q4_0", downByNeuron: true }],
  "a linear up, biases": [{
    architecture: "llama",
    traits: { activation: "reglu" },
    biases: true,
    type: "Q8_0",
  }],
  "no gate": [{
    architecture: "arcee",
    downByNeuron: true,
  }],
  "every row": [
    { architecture: "llama", type: "Q8_0" },
    { mode: "dense" },
  ],
  "every row of neurons": [
    { downByNeuron: true, type: "Q8_0" },
    { mode: "dense" },
  ],
  "a predictor": [
    { downByNeuron: true, predictorRank: 32, type: "Q4_0" },
    { mode: "predictor" },
  ],
  "a predictor, rows of outputs": [
    { predictorRank: 32, linearPredictor: true },
    { mode: "predictor" },
  ],
  "a threshold": [
    { downByNeuron: true, type: "Q8_0" },
    { mode: "threshold", value: 0.05 },
  ],
};

for (const [name, [options, sparsity]] of Object.entries(models)) {
  Deno.test(`a budget of neurons gives the same bits: ${name}`, async () => {
    await using file = await ModelFile.write({ ...sizes, ...options });
    const profile = randomProfile(file.made);
    // A profile decides what a predictor is not asked about.
    const whole = new Map();
    for (const own of [undefined, profile]) {
      whole.set(own, await runOn(file, { threads: 0, sparsity, profile: own }));
    }
    for (const threads of [0, 1, 2]) {
      const { least, all } = await budgetsOf(file, threads, sparsity);
      for (const share of [0, 0.5, 1]) {
        const own = (threads + 2 * share) % 2 === 1 ? profile : undefined;
        const what = `${threads} threads, ${share}, ${
          own ? "a" : "no"
        } profile`;
        const { bits, stats } = await runOn(file, {
          threads,
          sparsity,
          memoryBudget: Math.ceil(least + share * (all - least)),
          profile: own,
        });
        assert.deepEqual(bits, whole.get(own).bits, what);
        const [asked, missed, bytes] =
          (["askedRows", "missedRows", "fileBytes"] as const)
            .map((count) => totalOf(stats, count));
        assert.equal(asked > 0, share < 1, what);
        assert.equal(missed > 0, share < 1, what);
        assert.equal(bytes > 0, share < 1, what);
        assert(missed <= asked, what);
      }
    }
  });
}
