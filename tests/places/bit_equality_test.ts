/**
 * Logits of CPU places are equal to the last bit for any number of threads,
 * wherever the border of hot rows lies, and however tokens are batched.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { type GgmlType, ggmlTypes } from "../../src/formats/ggml/types.ts";
import { type CacheType, cacheTypes } from "../../src/places/cache_type.ts";
import { startTeam } from "../../src/places/start.ts";
import type { Team } from "../../src/places/team.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Profile } from "../../src/plan/profile.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { nextRates } from "../helpers/rates.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { cpuTeam, limits, randomProfile } from "../helpers/teams.ts";

const types: readonly GgmlType[] = [
  "F32",
  "F16",
  "Q4_0",
  "Q4_1",
  "Q5_1",
  "Q8_0",
  "Q2_K",
  "Q4_K",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "IQ3_S",
];

const modes: readonly Sparsity[] = [
  { mode: "exact" },
  { mode: "dense" },
  { mode: "predictor" },
  { mode: "top-k", share: 0.2 },
  { mode: "threshold", value: 0.03 },
];

interface Case {
  readonly made: RandomModel;
  readonly sparsity: Sparsity;
  readonly cacheType: CacheType;
  readonly profile: Profile;
  readonly name: string;
}

/** Architectures whose norms, scales and rotations are others, and what gives them windows or positions that matter. */
const others: readonly RandomModelOptions[] = [
  { architecture: "gemma2", keys: { slidingWindow: 7 } },
  { architecture: "gemma3", layerCount: 6, keys: { slidingWindow: 7 } },
  { architecture: "olmo2", layerCount: 4, keys: { slidingWindow: 7 } },
  { architecture: "bitnet", keys: { activation: "relu2" } },
  { architecture: "nemotron", biases: true },
  { architecture: "granite", biases: true, keys: { residualScale: 0.4 } },
  {
    architecture: "mistral3",
    keys: { temperatureScale: 0.3, originalContextSize: 7 },
  },
  { architecture: "exaone4" },
];

/** Mixtures of experts, each with the cases of randomCase that it runs as: of every mode and both forms of down. */
const experts: readonly (readonly [RandomModelOptions, number[]])[] = [
  [{ architecture: "turbosparsemixtral", expertCount: 5 }, [0, 1]],
  [{
    architecture: "turbosparsemixtral",
    expertCount: 4,
    predictorRank: 32,
  }, [4, 5]],
  [{ architecture: "smallthinker", expertCount: 6, usedExperts: 3 }, [2, 11]],
  [{ architecture: "gpt-oss", expertCount: 4 }, [7]],
];

/** A model of random shape; case after case goes through types, modes, caches and forms of down. */
async function randomCase(
  i: number,
  other?: RandomModelOptions,
): Promise<Case> {
  const random = seededRandom(1000 + i);
  const among = <T>(list: readonly T[]) =>
    list[Math.floor(random() * list.length)];
  const type = types[i % types.length];
  const unit = ggmlTypes[type].blockSize > 32 ? 256 : among([32, 64, 96]);
  const kvHeadCount = among([1, 2, 3]);
  const headCount = kvHeadCount * among([1, 2, 3]);
  const sparsity = modes[Math.floor(i / 2) % modes.length];
  const options: RandomModelOptions = {
    type,
    // Others may be SwiGLU, which has no predictor.
    architecture: sparsity.mode === "predictor"
      ? "bamboo"
      : among(["bamboo", "llama"]),
    hiddenSize: unit * among([1, 2]),
    headCount,
    kvHeadCount,
    headSize: among([16, 32, 40]),
    feedForwardSize: type.endsWith("K") ? 512 : among([96, 224, 800]),
    vocabSize: 67,
    downByNeuron: i % 2 === 0,
    predictorRank: 32,
    linearPredictor: random() < 0.5,
    tied: random() < 0.5,
    slidingWindow: random() < 0.3 ? 9 : undefined,
    seed: i,
    ...other,
    // Not all of them take one.
    ...(other && !other.predictorRank ? { predictorRank: undefined } : {}),
  };
  const made = await randomModel(options);
  const cacheType = cacheTypes[i % cacheTypes.length];
  return {
    made,
    sparsity,
    cacheType,
    profile: randomProfile(made),
    name: JSON.stringify({ ...options, sparsity, cacheType }),
  };
}

/** Logits of a text of 24 tokens, in steps of random sizes, beside another sequence. */
async function logitsOf(
  team: Team,
  vocabSize: number,
  random: () => number,
): Promise<Float32Array> {
  await using engine = new Engine(team, vocabSize);
  const ids = Array.from({ length: 24 }, (_, i) => (7 * i * i + i) % vocabSize);
  using sequence = engine.createSequence();
  using neighbour = engine.createSequence();
  const all = new Float32Array(ids.length * vocabSize);
  for (let first = 0; first < ids.length;) {
    const count = random() < 0.5 ? 1 : 1 + Math.floor(random() * 12);
    const step = ids.slice(first, first + count);
    const [rows] = await Promise.all([
      engine.evaluate(sequence, step, "all"),
      random() < 0.3 ? engine.evaluate(neighbour, [3, 5], "none") : undefined,
    ]);
    rows.forEach((row, i) => all.set(row, (first + i) * vocabSize));
    first += step.length;
  }
  return all;
}

function assertSameBits(
  actual: Float32Array,
  expected: Float32Array,
  what: string,
): void {
  assert(expected.every(Number.isFinite), `${what}: not finite`);
  const [a, b] = [actual, expected].map((x) => new Uint32Array(x.buffer));
  const different = a.findIndex((bits, i) => bits !== b[i]);
  assert(
    different < 0,
    `${what}: logit ${different} is ${actual[different]}, not ${
      expected[different]
    }`,
  );
}

const hotShares = [undefined, 0, 0.4, 1];

// Steps of other architectures are of the modes that need no predictor.
const cuts = [
  ...Array.from({ length: 30 }, (_, i) => ({ i, other: undefined })),
  ...[...others, ...others].map((other, n) => ({
    i: [0, 1, 2, 3, 6, 7, 8, 9][n % 8] + 10 * (n >> 3),
    other,
  })),
  ...experts.flatMap(([other, cases]) => cases.map((i) => ({ i, other }))),
];

for (const { i, other } of cuts) {
  const label = other ? `${other.architecture}, ${i}` : `${i}`;
  Deno.test(`any cut of a random model gives the same bits: ${label}`, async () => {
    const { made, sparsity, cacheType, profile, name } = await randomCase(
      i,
      other,
    );
    const { model } = made;
    const run = async (places: number, hotShare?: number) =>
      await logitsOf(
        await cpuTeam(
          made,
          splitEvenly(
            model,
            places,
            hotShare === undefined ? undefined : profile,
          ),
          sparsity,
          { cacheType, hotShare, bankBytes: places === 3 ? 1 : undefined },
        ),
        model.vocabSize,
        seededRandom(places),
      );
    // Hot rows are computed whatever a predictor says: their border is part of that mode.
    const shares = sparsity.mode === "predictor"
      ? [hotShares[i % hotShares.length]]
      : hotShares;
    const expected = await run(1, shares[0]);
    for (const places of [1, 2, 3, 5, 8]) {
      const hotShare = shares[places % shares.length];
      assertSameBits(
        await run(places, hotShare),
        expected,
        `${places} places, hot ${hotShare}, ${name}`,
      );
    }
  });
}

Deno.test("exact is dense, to the last bit", async () => {
  const [sums] = experts[0], [routesInput] = experts[2];
  for (
    const [i, other] of [
      [0],
      [1],
      [2],
      [3],
      [5],
      [0, sums],
      [11, routesInput],
    ] as [number, RandomModelOptions?][]
  ) {
    const { made, cacheType, name } = await randomCase(i, other);
    const run = async (sparsity: Sparsity) => {
      const plan = splitEvenly(made.model, 2);
      const team = await cpuTeam(made, plan, sparsity, { cacheType });
      return await logitsOf(team, made.model.vocabSize, seededRandom(i));
    };
    assertSameBits(
      await run({ mode: "exact" }),
      await run({ mode: "dense" }),
      name,
    );
  }
});

// One case of each mode, and norms for which threads hand one another squares.
const threaded = [
  ...[0, 3, 4, 7, 8].map((i) => ({ i, other: undefined })),
  { i: 0, other: others.find(({ architecture }) => architecture === "olmo2") },
  { i: 6, other: others.find(({ architecture }) => architecture === "bitnet") },
  { i: 0, other: experts[0][0] },
  { i: 1, other: experts[2][0] },
];

for (const { i, other } of threaded) {
  const label = other ? `${other.architecture}, ${i}` : `${i}`;
  Deno.test(`any number of threads gives the same bits: ${label}`, async () => {
    const { made, sparsity, cacheType, profile, name } = await randomCase(
      i,
      other,
    );
    const { model, source } = made;
    const run = async (threads: number) =>
      await logitsOf(
        await startTeam(source, threads, {
          model,
          sparsity,
          limits,
          cacheType,
          profile,
          measureRecall: false,
          rates: nextRates(),
        }),
        model.vocabSize,
        seededRandom(threads),
      );
    const expected = await run(0);
    for (const threads of [1, 2, 3, 8]) {
      assertSameBits(
        await run(threads),
        expected,
        `${threads} threads, ${name}`,
      );
    }
  });
}
