/**
 * Mixtures of experts of which a memory budget holds some: the logits are those
 * of the whole model, to the last bit, and what was read is counted.
 */
import assert from "node:assert/strict";
import { FormatError } from "../../src/errors.ts";
import { load } from "../../src/load/load.ts";
import { estimateMemory } from "../../src/places/cpu/memory_estimate.ts";
import { totalOf } from "../../src/places/stats.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { budgetsOf, ModelFile, runOn, startOn } from "../helpers/budgets.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { limits, randomProfile } from "../helpers/teams.ts";

const mixtures: Record<string, [RandomModelOptions, Sparsity?]> = {
  "rows of outputs": [{ architecture: "smallthinker", expertCount: 7 }],
  "rows of neurons, one expert a token": [{
    architecture: "turbosparsemixtral",
    expertCount: 6,
    usedExperts: 1,
    downByNeuron: true,
    type: "Q8_0",
  }],
  "rows of neurons": [{
    architecture: "smallthinker",
    expertCount: 9,
    usedExperts: 3,
    downByNeuron: true,
    type: "Q4_0",
  }],
  "a shared expert": [{
    architecture: "qwen2moe",
    expertCount: 6,
    sharedExperts: 2,
    type: "Q8_0",
  }],
  "biases": [{ architecture: "gpt-oss", expertCount: 5, biases: true }],
  "a predictor": [
    {
      architecture: "turbosparsemixtral",
      expertCount: 4,
      predictorRank: 32,
      downByNeuron: true,
    },
    { mode: "predictor" },
  ],
};

for (const [name, [options, sparsity]] of Object.entries(mixtures)) {
  Deno.test(`a budget of any size gives the same bits: ${name}`, async () => {
    await using file = await ModelFile.write({ layerCount: 3, ...options });
    const { bits } = await runOn(file, { threads: 0, sparsity });
    for (const threads of [0, 1, 2]) {
      const { least, all } = await budgetsOf(file, threads);
      const profile = threads === 1 ? randomProfile(file.made) : undefined;
      for (const share of [0, 0.5, 1]) {
        const memoryBudget = Math.ceil(least + share * (all - least));
        const what = `${threads} threads, ${share}`;
        const { bits: own, stats } = await runOn(file, {
          threads,
          sparsity,
          memoryBudget,
          profile,
        });
        assert.deepEqual(own, bits, what);
        const [missed, read, bytes] =
          (["missedExperts", "readExperts", "fileBytes"] as const)
            .map((count) => totalOf(stats, count));
        assert(missed <= read, what);
        assert.equal(missed > 0, share < 1, what);
        assert.equal(bytes > 0, share < 1, what);
        if (share === 0) assert(missed > read / 4, `${what}: ${missed}`);
      }
    }
  });
}

/** What happens to a file while a model runs, and what is said of it. */
const changes: Record<string, [(path: string) => Promise<void>, RegExp]> = {
  "is cut": [
    (path) => Deno.truncate(path, 1000),
    // In a thread it is loaded again, which ends as it does for a cut file.
    /: (it had \d+ bytes when the model was loaded, now it has 1000|needs bytes \d+\.\.\d+, the file ended at \d+ while it was read)$/,
  ],
  "is written": [
    (path) => Deno.utime(path, 1e9, 1e9),
    /: it was written at 2001-09-09T01:46:40.000Z while the model ran, before at /,
  ],
  "gets a weight that is infinite": [
    async (path) => {
      const { mtime } = await Deno.stat(path);
      const bytes = await Deno.readFile(path);
      bytes.fill(0xff, bytes.length / 2);
      await Deno.writeFile(path, bytes);
      await Deno.utime(path, mtime!, mtime!);
    },
    /infinite or NaN/,
  ],
};

const partial: Record<string, RandomModelOptions> = {
  experts: { architecture: "smallthinker", expertCount: 12, layerCount: 3 },
  neurons: { feedForwardSize: 384, downByNeuron: true, layerCount: 3 },
};

const faults = Object.entries(changes).flatMap(([name, change]) =>
  Object.entries(partial).map(([what, options]) =>
    [name, what, change, options] as const
  )
);

for (const [name, what, [change, expected], options] of faults) {
  for (const threads of [0, 1]) {
    Deno.test(`a file that ${name} while ${what} are read from it: one typed error, ${threads} threads`, async () => {
      await using file = await ModelFile.write(options);
      // File systems keep times to different digits.
      await Deno.utime(file.path, 1.7e9, 1.7e9);
      const { least } = await budgetsOf(file, threads);
      const memoryBudget = (least + 4096) / 2 ** 30;
      await using model = await load(file.path, {
        threads,
        memoryBudget,
        gpu: "off",
        batchSize: limits.tokens,
        contextSize: limits.contextSize,
      });
      const { engine } = model;
      using sequence = engine.createSequence();
      await engine.evaluate(sequence, [1, 2, 3, 4], "last");
      await change(file.path);
      const run = async () => {
        for (let id = 5; id < 60; id++) {
          await engine.evaluate(sequence, [id], "last");
        }
      };
      await assert.rejects(
        run,
        (error: Error) =>
          error instanceof FormatError && expected.test(error.message) ||
          assert.fail(`${error.name}: ${error.message}`),
      );
    });
  }
}

Deno.test("experts are read from local files alone, and without a GPU", async () => {
  const made = await randomModel({
    architecture: "smallthinker",
    expertCount: 12,
  });
  const memory = { ...limits, batchSize: limits.tokens, threads: 1 };
  const { weights, kvCache, scratch } = estimateMemory(made.model, {
    ...memory,
    cacheType: "f16",
  });
  const memoryBudget = weights + kvCache + scratch - 1;
  await assert.rejects(
    startOn({ made, source: made.source }, { threads: 1, memoryBudget }),
    /^UsageError: Cannot read weights of random model while the model runs, as a memory budget of \d+ bytes requires: it is no local file$/,
  );
  await assert.rejects(
    load(made.bytes, { memoryBudget: 1, gpu: "require" }),
    /^UsageError: Cannot use a GPU with a memory budget/,
  );
});
