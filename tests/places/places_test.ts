/**
 * One suite that every kind of place runs: random small models of each
 * architecture, type and shape against the reference, for single tokens,
 * prompts, and several sequences in one step.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import type { CacheType } from "../../src/places/cache_type.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import type { LayerStats } from "../../src/places/stats.ts";
import type { Team } from "../../src/places/team.ts";
import { gpuTeams, gpuTeamsOfQ8 } from "../helpers/gpu_teams.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import {
  cpuTeam,
  type MakeTeam,
  referenceTeam,
  teams as cpuTeams,
  teamsOfQ8 as cpuTeamsOfQ8,
} from "../helpers/teams.ts";

const teams = { ...cpuTeams, ...gpuTeams };
const teamsOfQ8 = { ...cpuTeamsOfQ8, ...gpuTeamsOfQ8 };

const types: GgmlType[] = [
  "F32",
  "F16",
  "BF16",
  "Q4_0",
  "Q4_1",
  "Q5_0",
  "Q5_1",
  "Q8_0",
  "Q2_K",
  "Q3_K",
  "Q4_K",
  "Q5_K",
  "Q6_K",
];

/** Every type, with shapes that its blocks allow. */
const typeCases: RandomModelOptions[] = types.map((type, i) => ({
  type,
  hiddenSize: type.endsWith("K") ? 256 : 96,
  headCount: 4,
  kvHeadCount: [1, 2, 4][i % 3],
  feedForwardSize: type.endsWith("K") ? 256 : 160,
  layerCount: 2,
  downByNeuron: i % 2 === 1,
  magic: i % 2 === 1 ? "PWRI" : "GGUF",
  tied: i % 3 === 1,
  seed: 100 + i,
}));

/** Sizes that are no multiple of anything, and what else a file may ask for. */
const shapeCases: RandomModelOptions[] = [
  {
    hiddenSize: 20,
    headCount: 5,
    kvHeadCount: 5,
    feedForwardSize: 37,
    vocabSize: 51,
  },
  {
    type: "F16",
    hiddenSize: 36,
    headCount: 6,
    kvHeadCount: 2,
    feedForwardSize: 50,
    vocabSize: 33,
    tied: true,
  },
  { type: "F16", hiddenSize: 10, headSize: 14, headCount: 3, kvHeadCount: 1 },
  { headCount: 1, kvHeadCount: 1, feedForwardSize: 3, layerCount: 1 },
  {
    type: "Q8_0",
    hiddenSize: 192,
    headCount: 8,
    kvHeadCount: 4,
    feedForwardSize: 224,
  },
  {
    type: "Q4_0",
    hiddenSize: 160,
    headCount: 5,
    kvHeadCount: 5,
    feedForwardSize: 96,
  },
  { architecture: "llama", type: "Q8_0", feedForwardSize: 128 },
  { architecture: "llama", magic: "PWRI", type: "F16", downByNeuron: true },
  { slidingWindow: 7 },
  { slidingWindow: 40, type: "F16" },
  { architecture: "llama", ropeFactors: true },
  { ropeScale: 4 },
  {
    architecture: "llama",
    biases: true,
    hiddenSize: 20,
    headCount: 5,
    kvHeadCount: 5,
    feedForwardSize: 37,
    vocabSize: 51,
  },
  {
    architecture: "llama",
    biases: true,
    downByNeuron: true,
    type: "Q8_0",
    feedForwardSize: 224,
  },
  {
    architecture: "qwen2",
    hiddenSize: 20,
    headSize: 6,
    headCount: 5,
    kvHeadCount: 5,
    feedForwardSize: 37,
    vocabSize: 51,
    tied: true,
  },
  {
    architecture: "qwen2",
    type: "F16",
    hiddenSize: 36,
    headSize: 14,
    headCount: 6,
    kvHeadCount: 2,
    ropeFactors: true,
    slidingWindow: 7,
  },
  { architecture: "qwen2", type: "Q4_0", hiddenSize: 96, feedForwardSize: 160 },
];

/**
 * Relative to the logits' own spread: f16 KV, or weights times 8-bit
 * activations. Between two steps of q8_0, a key may fall on either.
 */
function tolerance(options: RandomModelOptions, team: string): number {
  const float = ["F32", "F16", "BF16"].includes(options.type ?? "F32");
  if (!float) return 0.08;
  if (team.includes("q8_0")) return 5e-3;
  return team.includes("threads") ? 1e-2 : 1e-4;
}

function label(options: RandomModelOptions): string {
  return Object.entries(options)
    .filter(([name]) => name !== "seed")
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

/** A prompt, single tokens, then two forks and a stranger in mixed steps. */
async function runTexts(team: Team, vocabSize: number): Promise<Float32Array> {
  await using engine = new Engine(team, vocabSize);
  const random = seededRandom(7);
  const ids = (n: number) =>
    Array.from({ length: n }, () => Math.floor(random() * vocabSize));
  const rows: Float32Array[] = [];
  using first = engine.createSequence();
  rows.push(...await engine.evaluate(first, ids(21), "all"));
  for (let i = 0; i < 3; i++) {
    rows.push(...await engine.evaluate(first, ids(1)));
  }
  using fork = first.fork();
  fork.truncate(13);
  using stranger = engine.createSequence();
  const together = await Promise.all([
    engine.evaluate(first, ids(12), "all"),
    engine.evaluate(fork, ids(2), "last"),
    engine.evaluate(stranger, ids(1), "all"),
    engine.evaluate(stranger, ids(6), "none"),
  ]);
  rows.push(...together.flat());
  rows.push(...await engine.evaluate(stranger, ids(1)));
  rows.push(...await engine.evaluate(fork, ids(1)));
  const all = new Float32Array(rows.length * vocabSize);
  rows.forEach((row, i) => all.set(row, i * vocabSize));
  return all;
}

/** Root mean square of the difference, relative to that of `expected`. */
function distance(actual: Float32Array, expected: Float32Array): number {
  assert.equal(actual.length, expected.length);
  let difference = 0, size = 0;
  expected.forEach((value, i) => {
    difference += (actual[i] - value) ** 2;
    size += value ** 2;
  });
  assert(size > 0.01 * expected.length, "the logits are too small to tell");
  return Math.sqrt(difference / size);
}

async function compare(
  teams: Record<string, MakeTeam>,
  options: RandomModelOptions,
  sparsity: Sparsity,
  cacheType: CacheType = "f32",
): Promise<void> {
  const made = await randomModel(options);
  const { vocabSize } = made.model;
  const plan = splitEvenly(made.model, 1);
  const reference = await referenceTeam(made, plan, sparsity, cacheType);
  const expected = await runTexts(reference, vocabSize);
  for (const [name, makeTeam] of Object.entries(teams)) {
    const actual = await runTexts(await makeTeam(made, sparsity), vocabSize);
    const error = distance(actual, expected);
    const limit = tolerance(options, name);
    assert(
      error < limit,
      `${name}: logits differ by ${error}, the limit is ${limit}`,
    );
  }
}

for (const options of [...typeCases, ...shapeCases]) {
  Deno.test(`places agree: ${label(options)}`, async () => {
    await compare(teams, options, { mode: "exact" });
  });
}

for (const options of shapeCases) {
  Deno.test(`places agree with a q8_0 cache: ${label(options)}`, async () => {
    await compare(teamsOfQ8, options, { mode: "exact" }, "q8_0");
  });
}

const sparsityModes: Sparsity[] = [
  { mode: "dense" },
  { mode: "predictor" },
  { mode: "predictor", threshold: 0.4 },
  { mode: "top-k", share: 0.2 },
  { mode: "top-k", share: 1 },
  { mode: "threshold", value: 0.05 },
];
for (const sparsity of sparsityModes) {
  for (const downByNeuron of [false, true]) {
    const options: RandomModelOptions = {
      type: "F16",
      hiddenSize: 48,
      feedForwardSize: 90,
      headCount: 6,
      kvHeadCount: 3,
      predictorRank: 12,
      downByNeuron,
    };
    const mode = JSON.stringify(sparsity);
    Deno.test(`places agree in ${mode}, down by neuron ${downByNeuron}`, async () => {
      await compare(teams, options, sparsity);
    });
  }
}

for (const type of ["F16", "Q4_0"] as const) {
  Deno.test(`places agree with a linear predictor of ${type}`, async () => {
    const options: RandomModelOptions = {
      type,
      hiddenSize: 64,
      feedForwardSize: 128,
      predictorRank: 32,
      linearPredictor: true,
      downByNeuron: true,
    };
    await compare(teams, options, { mode: "predictor" });
  });
}

for (const downByNeuron of [false, true]) {
  Deno.test(`places agree with a predictor and biases, down by neuron ${downByNeuron}`, async () => {
    const options: RandomModelOptions = {
      architecture: "llama",
      magic: "PWRI",
      type: "F16",
      feedForwardSize: 90,
      predictorRank: 12,
      biases: true,
      downByNeuron,
    };
    const withRecall: MakeTeam = (made, sparsity) =>
      cpuTeam(made, splitEvenly(made.model, 2), sparsity, {
        measureRecall: true,
      });
    const all = { ...teams, "cpu, recall measured": withRecall };
    for (const mode of ["predictor", "dense"] as const) {
      await compare(all, options, { mode });
    }
  });
}

Deno.test("each layer's predictor has a threshold of its own", async () => {
  const made = await randomModel({ predictorRank: 12, linearPredictor: true });
  const thresholds = {
    model: { ...made.model, sparseThresholds: [-1e9, 0.2] },
  };
  const asked = async (team: Team) => {
    await using engine = new Engine(team, made.model.vocabSize);
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, [1, 2, 3]);
    return engine.stats().layers.map(({ predicted }) => predicted);
  };
  const args = [
    { ...made, ...thresholds },
    splitEvenly(made.model, 2),
    { mode: "predictor" },
  ] as const;
  const expected = await asked(await referenceTeam(...args));
  assert.equal(expected[0], 3 * made.model.feedForwardSize);
  assert(expected[1] < 2 * made.model.feedForwardSize);
  assert.deepEqual(await asked(await cpuTeam(...args)), expected);
});

Deno.test("a predictor that asks for everything changes nothing", async () => {
  const made = await randomModel({ predictorRank: 9, type: "F16" });
  const run = async (sparsity: Sparsity) =>
    await runTexts(
      await cpuTeam(made, splitEvenly(made.model, 2), sparsity),
      made.model.vocabSize,
    );
  const all = await run({ mode: "predictor", threshold: -1e9 });
  const none = await run({ mode: "predictor", threshold: 1e9 });
  const exact = await run({ mode: "exact" });
  assert(distance(all, exact) < 1e-5);
  assert(distance(none, exact) > 1e-2);
});

Deno.test("counters tell what was computed and what was skipped", async () => {
  const made = await randomModel({
    type: "F16",
    feedForwardSize: 400,
    downByNeuron: true,
    layerCount: 1,
  });
  const { model } = made;
  const count = async (sparsity: Sparsity) => {
    const team = await cpuTeam(made, splitEvenly(model, 2), sparsity);
    await using engine = new Engine(team, model.vocabSize);
    using sequence = engine.createSequence();
    for (let id = 0; id < 10; id++) await engine.evaluate(sequence, [id]);
    return engine.stats();
  };
  const { layers: [exact], tokens } = await count({ mode: "exact" });
  const { layers: [dense] } = await count({ mode: "dense" });
  assert.equal(tokens, 10);
  assert.equal(exact.neurons, 4000);
  assert.equal(exact.gateRows, 4000);
  assert.equal(exact.downRows, exact.active);
  assert(exact.active < exact.gatePositive && exact.gatePositive < 2400);
  assert.deepEqual(
    [dense.upRows, dense.gatePositive, dense.active],
    [4000, exact.gatePositive, exact.active],
  );
  const bytes = ({ streamed, picked }: LayerStats) => streamed + picked;
  assert(bytes(exact) < bytes(dense) || exact.upRows === dense.upRows);
});
