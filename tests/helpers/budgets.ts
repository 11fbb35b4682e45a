/** Models in files, of which a memory budget holds a part. */
import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { openFile } from "../../src/bytes/file.ts";
import { Engine } from "../../src/engine/engine.ts";
import { LimitError } from "../../src/errors.ts";
import { describeModel } from "../../src/model/model.ts";
import type { Model } from "../../src/model/model.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { estimateMemory } from "../../src/places/cpu/memory_estimate.ts";
import { startTeam } from "../../src/places/start.ts";
import { type PlaceStats, sumCounts } from "../../src/places/stats.ts";
import type { Team } from "../../src/places/team.ts";
import type { Profile } from "../../src/plan/profile.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "./random_model.ts";
import { nextRates } from "./rates.ts";
import { limits } from "./teams.ts";

/** A model in a file, which goes with the test. */
export class ModelFile implements AsyncDisposable {
  private constructor(
    readonly path: string,
    readonly made: { readonly model: Model },
    readonly source: ByteSource,
  ) {}

  static async write(options: RandomModelOptions): Promise<ModelFile> {
    const made = await randomModel(options);
    return await ModelFile.of(made.bytes, made);
  }

  /** A file of these bytes; what it says is read where it is not given. */
  static async of(
    bytes: Uint8Array<ArrayBuffer>,
    made?: Pick<RandomModel, "model">,
  ): Promise<ModelFile> {
    const path = await Deno.makeTempFile({ suffix: ".gguf" });
    await Deno.writeFile(path, bytes);
    const source = await openFile(path);
    const model = made?.model ?? describeModel(await readGguf(source));
    return new ModelFile(path, { model }, source);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.close();
    await Deno.remove(this.path);
  }
}

/** How a model runs. */
export interface BudgetOptions {
  readonly threads: number;
  readonly sparsity?: Sparsity;
  readonly memoryBudget?: number;
  readonly profile?: Profile;
  readonly measureRecall?: boolean;
}

/** Starts a model, at rates that are others each time. */
export function startOn(
  { made, source }: {
    readonly made: { readonly model: Model };
    readonly source: ByteSource;
  },
  { threads, sparsity = { mode: "exact" }, ...options }: BudgetOptions,
): Promise<Team> {
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

/** Bits of the logits of a prompt, some single tokens and another prompt; and what was counted. */
export async function runOn(
  file: ModelFile,
  options: BudgetOptions,
): Promise<{ bits: number[][]; stats: PlaceStats }> {
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
export async function budgetsOf(
  file: ModelFile,
  threads: number,
  sparsity?: Sparsity,
): Promise<{ least: number; all: number }> {
  const { weights, kvCache, scratch } = estimateMemory(file.made.model, {
    contextSize: limits.contextSize,
    batchSize: limits.tokens,
    threads,
    cacheType: "f16",
  });
  const error = await startOn(file, { threads, sparsity, memoryBudget: 1 })
    .then(() => assert.fail("it started in 1 byte"), (error) => error);
  assert(error instanceof LimitError, `${error}`);
  const [, least] = error.message
    .match(/in a memory budget of 1 bytes: it needs (\d+) for/)!;
  return { least: Number(least), all: weights + kvCache + scratch };
}
