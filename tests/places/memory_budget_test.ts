/**
 * Mixtures of experts of which a memory budget holds some: the logits are those
 * of the whole model, to the last bit, and what was read is counted.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { FormatError, LimitError } from "../../src/errors.ts";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { openFile } from "../../src/bytes/file.ts";
import { load } from "../../src/load/load.ts";
import { estimateMemory } from "../../src/places/cpu/memory_estimate.ts";
import { startTeam } from "../../src/places/start.ts";
import { sumCounts, totalOf } from "../../src/places/stats.ts";
import type { Profile } from "../../src/plan/profile.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { nextRates } from "../helpers/rates.ts";
import { limits, randomProfile } from "../helpers/teams.ts";

/** A model in a file, which goes with the test. */
class ModelFile implements AsyncDisposable {
  private constructor(
    readonly path: string,
    readonly made: RandomModel,
    readonly source: ByteSource,
  ) {}

  static async write(options: RandomModelOptions): Promise<ModelFile> {
    const made = await randomModel(options);
    const path = await Deno.makeTempFile({ suffix: ".gguf" });
    await Deno.writeFile(path, made.bytes);
    return new ModelFile(path, made, await openFile(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.close();
    await Deno.remove(this.path);
  }
}

interface RunOptions {
  readonly threads: number;
  readonly sparsity?: Sparsity;
  readonly memoryBudget?: number;
  readonly profile?: Profile;
}

function startOn(
  { made, source }: Pick<ModelFile, "made" | "source">,
  { threads, sparsity = { mode: "exact" }, ...options }: RunOptions,
) {
  return startTeam(source, threads, {
    model: made.model,
    sparsity,
    limits,
    cacheType: "f16",
    measureRecall: false,
    rates: nextRates(),
    ...options,
  });
}

/** Logits of a prompt, some single tokens and another prompt; and what was counted. */
async function run(file: ModelFile, options: RunOptions) {
  const { vocabSize } = file.made.model;
  const team = await startOn(file, options);
  await using engine = new Engine(team, vocabSize);
  using sequence = engine.createSequence();
  const ids = Array.from({ length: 30 }, (_, i) => (5 * i * i + i) % vocabSize);
  const rows: Float32Array[] = [];
  for (const [from, to] of [[0, 13], [13, 14], [14, 15], [15, 17], [17, 30]]) {
    const step = await engine.evaluate(sequence, ids.slice(from, to), "all");
    rows.push(...step.map((row) => row.slice()));
  }
  const bits = rows.map((row) => [...new Uint32Array(row.buffer)]);
  return { bits, stats: sumCounts(team.counts, ids.length) };
}

/** The least that a budget may be, as the error says it, and what all takes. */
async function budgetsOf(file: ModelFile, threads: number) {
  const { weights, kvCache, scratch } = estimateMemory(file.made.model, {
    contextSize: limits.contextSize,
    batchSize: limits.tokens,
    threads,
    cacheType: "f16",
  });
  const error = await startOn(file, { threads, memoryBudget: 1 })
    .then(() => assert.fail("it started in 1 byte"), (error) => error);
  assert(error instanceof LimitError, `${error}`);
  const [, least] = error.message
    .match(/in a memory budget of 1 bytes: it needs (\d+) for/)!;
  return { least: Number(least), all: weights + kvCache + scratch };
}

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
    const { bits } = await run(file, { threads: 0, sparsity });
    for (const threads of [0, 1, 2]) {
      const { least, all } = await budgetsOf(file, threads);
      const profile = threads === 1 ? randomProfile(file.made) : undefined;
      for (const share of [0, 0.5, 1]) {
        const memoryBudget = Math.ceil(least + share * (all - least));
        const what = `${threads} threads, ${share}`;
        const { bits: own, stats } = await run(file, {
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

for (const [name, [change, expected]] of Object.entries(changes)) {
  for (const threads of [0, 1]) {
    Deno.test(`a file that ${name} while experts are read from it: one typed error, ${threads} threads`, async () => {
      await using file = await ModelFile.write({
        architecture: "smallthinker",
        expertCount: 12,
        layerCount: 3,
      });
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
    /^UsageError: Cannot read experts of random model while the model runs, as a memory budget of \d+ bytes requires: it is no local file$/,
  );
  await assert.rejects(
    load(made.bytes, { memoryBudget: 1, gpu: "require" }),
    /^UsageError: Cannot use a GPU with a memory budget/,
  );
});
