/**
 * The promise that no cut, neighbour or cached past shows: logits are equal to
 * the last bit whether tokens come one by one, in any cut, beside other
 * sequences, or behind a past that another text left.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import type { CacheType } from "../../src/places/cache_type.ts";
import { startTeam } from "../../src/places/start.ts";
import type { Profile } from "../../src/plan/profile.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { randomModel } from "../helpers/random_model.ts";
import { nextRates } from "../helpers/rates.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

const limits = { tokens: 20, contextSize: 96 };

interface Way {
  readonly type?: GgmlType;
  readonly sparsity: Sparsity;
  readonly cacheType?: CacheType;
  readonly threads?: number;
  /** The share of each layer's neurons that is read without being asked for */
  readonly hotShare?: number;
  /** Each layer in a memory of its own */
  readonly bankBytes?: number;
}

const exact = { mode: "exact" } as const;

const ways: Record<string, Way> = {
  "dense": { sparsity: { mode: "dense" } },
  "exact": { sparsity: exact },
  "exact, hot and cold rows": { sparsity: exact, hotShare: 0.4 },
  "exact, 2 threads, hot and cold rows": {
    sparsity: exact,
    threads: 2,
    hotShare: 0.3,
  },
  "predictor": { sparsity: { mode: "predictor" } },
  "predictor, 2 threads": { sparsity: { mode: "predictor" }, threads: 2 },
  "top-k": { sparsity: { mode: "top-k", share: 0.3 } },
  "top-k, 2 threads": { sparsity: { mode: "top-k", share: 0.3 }, threads: 2 },
  "threshold": { sparsity: { mode: "threshold", value: 0.05 } },
  "dense, f16": { type: "F16", sparsity: { mode: "dense" } },
  "exact, f16": { type: "F16", sparsity: exact, hotShare: 0.4 },
  "exact, f32": { type: "F32", sparsity: exact, cacheType: "f32" },
  "exact, Q8_0": { type: "Q8_0", sparsity: exact, hotShare: 0.4 },
  "exact, Q4_K": { type: "Q4_K", sparsity: exact },
  "exact, keys and values in f32": { sparsity: exact, cacheType: "f32" },
  "exact, keys and values in q8_0": { sparsity: exact, cacheType: "q8_0" },
  "exact, a memory a layer": { sparsity: exact, bankBytes: 1 },
};

async function start(way: Way): Promise<{ engine: Engine; vocabSize: number }> {
  const { type = "Q4_0", sparsity, threads = 0, hotShare, bankBytes } = way;
  const { model, source } = await randomModel({
    type,
    hiddenSize: 256,
    feedForwardSize: 512,
    vocabSize: 128,
    predictorRank: sparsity.mode === "predictor" ? 32 : undefined,
    downByNeuron: true,
    seed: 5,
  });
  const random = seededRandom(8);
  const counts = () =>
    Uint32Array.from(
      { length: model.feedForwardSize },
      () => Math.floor(1000 * random()),
    );
  const profile: Profile = {
    tokens: 1000,
    layers: model.layers.map(() => ({
      gatePositive: counts(),
      active: counts(),
    })),
  };
  const team = await startTeam(source, threads, {
    model,
    sparsity,
    limits,
    cacheType: way.cacheType ?? "f16",
    measureRecall: false,
    rates: nextRates(),
    bankBytes,
    ...(hotShare === undefined ? {} : { hotShare, profile }),
  });
  const engine = new Engine(team, model.vocabSize, { keepsPast: true });
  return { engine, vocabSize: model.vocabSize };
}

for (const [name, way] of Object.entries(ways)) {
  Deno.test(`no cut, neighbour or cached past shows in a single bit: ${name}`, async () => {
    const { engine, vocabSize } = await start(way);
    await using _ = engine;
    const random = seededRandom(21);
    const below = (n: number) => Math.floor(random() * n);
    const idsOf = (count: number) =>
      Array.from({ length: count }, () => below(vocabSize));
    const texts = [40, 65, 96].map(idsOf);
    texts.push([...texts[2].slice(0, 50), ...idsOf(30)]);
    /** Of each text, the logits after each token: one token a step, nothing beside it. */
    const expected: Float32Array[][] = [];
    for (const ids of texts) {
      using sequence = engine.createSequence();
      const rows: Float32Array[] = [];
      for (const id of ids) rows.push(...await engine.evaluate(sequence, [id]));
      expected.push(rows);
    }
    const check = (text: number, first: number, rows: Float32Array[]) =>
      rows.forEach((row, i) => {
        const isSame = row.every((value, j) =>
          Object.is(value, expected[text][first + i][j])
        );
        assert(isSame, `text ${text}, token ${first + i}`);
      });
    /** Evaluates a text in cuts, from what is known of it on or from the start. */
    const evaluate = async (text: number, fromPast: boolean) => {
      const ids = texts[text];
      using sequence = engine.createSequence();
      if (fromPast) sequence.resume(ids.slice(0, below(ids.length)));
      while (sequence.length < ids.length) {
        const first = sequence.length;
        const cuts: Promise<void>[] = [];
        // Some of them wait at once.
        for (let at = first, i = below(3); i >= 0 && at < ids.length; i--) {
          const end = Math.min(ids.length, at + 1 + below(30));
          const begin = at;
          const rows = engine.evaluate(sequence, ids.slice(begin, end), "all");
          cuts.push(rows.then((rows) => check(text, begin, rows)));
          at = end;
        }
        await Promise.all(cuts);
        if (random() < 0.3 && sequence.length > 10) {
          sequence.truncate(sequence.length - below(10));
        }
      }
    };
    for (let round = 0; round < 8; round++) {
      await Promise.all(
        Array.from(
          { length: 1 + below(5) },
          () => evaluate(below(texts.length), random() < 0.6),
        ),
      );
    }
    assert(engine.cachedTokens > 0);
  });
}

for (const type of ["Q4_0", "F16", "Q8_0"] as const) {
  Deno.test(`no border of hot rows shows in a single bit: ${type}`, async () => {
    const ids = Array.from({ length: 40 }, (_, i) => 3 * i % 128);
    const rows: Float32Array[][] = [];
    for (const hotShare of [0, 0.1, 0.35, 0.8, 1]) {
      const { engine } = await start({ type, sparsity: exact, hotShare });
      await using _ = engine;
      using sequence = engine.createSequence();
      rows.push(await engine.evaluate(sequence, ids, "all"));
    }
    for (const other of rows) assert.deepEqual(other, rows[0]);
  });
}
