/**
 * One suite that every kind of place runs: random small models of each
 * architecture, type and shape against the reference, for single tokens,
 * prompts, and several sequences in one step.
 */
import { type GgmlType, ggmlTypes } from "../../src/formats/ggml/types.ts";
import { comparePlaces } from "../helpers/compare_places.ts";
import { gpuTeams, gpuTeamsOfQ8 } from "../helpers/gpu_teams.ts";
import type { RandomModelOptions } from "../helpers/random_model.ts";
import {
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
  "IQ4_NL",
  "IQ4_XS",
  "MXFP4",
  "NVFP4",
  "TQ1_0",
  "TQ2_0",
  "Q1_0",
  "Q2_0",
  "IQ1_S",
  "IQ1_M",
  "IQ2_XXS",
  "IQ2_XS",
  "IQ2_S",
  "IQ3_XXS",
  "IQ3_S",
];

/** Every type, with shapes that its blocks allow. */
const typeCases: RandomModelOptions[] = types.map((type, i) => ({
  type,
  hiddenSize: ggmlTypes[type].blockSize > 32 ? 256 : 96,
  headCount: 4,
  kvHeadCount: [1, 2, 4][i % 3],
  feedForwardSize: ggmlTypes[type].blockSize > 32 ? 256 : 160,
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

/** Sizes that are no multiple of anything. */
const odd: RandomModelOptions = {
  hiddenSize: 20,
  headSize: 6,
  headCount: 5,
  kvHeadCount: 5,
  feedForwardSize: 37,
  vocabSize: 51,
};

/** Other architectures: each as a file has it, and of odd sizes or another form. */
const architectureCases: RandomModelOptions[] = [
  {
    architecture: "llama",
    keys: { activation: "fatrelu=0.05" },
    downByNeuron: true,
  },
  { architecture: "qwen2", ...odd, keys: { activation: "fatrelu=0.05" } },
  { architecture: "llama", keys: { ropeScaling: "yarn", ropeScale: 4 } },
  { architecture: "llama", longRope: 24 },
  { architecture: "llama", longRope: 128, ...odd },
  {
    architecture: "mistral3",
    keys: {
      ropeScaling: "yarn",
      ropeScale: 8,
      originalContextSize: 7,
      temperatureScale: 0.3,
      yarnLogMultiplier: 0.5,
    },
  },
  { architecture: "qwen3", headSize: 24, type: "F16" },
  { architecture: "qwen3", ...odd, headCount: 6, kvHeadCount: 2 },
  { architecture: "gemma2", tied: true, keys: { slidingWindow: 7 } },
  { architecture: "gemma2", ...odd, type: "F16", layerCount: 3 },
  { architecture: "gemma2", type: "Q4_0", downByNeuron: true },
  {
    architecture: "gemma3",
    tied: true,
    layerCount: 7,
    keys: { slidingWindow: 7, ropeScale: 8, logitCap: 30 },
  },
  { architecture: "gemma3", ...odd, type: "Q8_0" },
  { architecture: "phi3", fused: true },
  { architecture: "phi3", fused: true, type: "Q8_0", longRope: 16 },
  { architecture: "phi3", ...odd, fused: true, keys: { ropeSize: 4 } },
  { architecture: "smollm3", layerCount: 5, kvHeadCount: 1 },
  {
    architecture: "granite",
    biases: true,
    keys: {
      embeddingScale: 6,
      residualScale: 0.4,
      logitScale: 4,
      attentionScale: 0.1,
    },
  },
  { architecture: "granite", ...odd, keys: { isRotated: false } },
  { architecture: "minicpm", keys: { embeddingScale: 6, logitScale: 0.5 } },
  { architecture: "olmo2", layerCount: 3 },
  { architecture: "olmo2", traits: { residualScale: 0.4 } },
  {
    architecture: "olmo2",
    ...odd,
    headCount: 6,
    kvHeadCount: 3,
    layerCount: 4,
    keys: { slidingWindow: 7, ropeScale: 4 },
  },
  { architecture: "exaone4", type: "F16" },
  { architecture: "exaone4", ...odd },
  { architecture: "arcee", downByNeuron: true },
  { architecture: "arcee", ...odd, biases: true },
  { architecture: "nemotron", keys: { ropeSize: 8 } },
  {
    architecture: "nemotron",
    ...odd,
    biases: true,
    downByNeuron: true,
    keys: { ropeSize: 2 },
  },
  { architecture: "bitnet", tied: true, keys: { activation: "relu2" } },
  {
    architecture: "bitnet",
    ...odd,
    downByNeuron: true,
    keys: { activation: "relu2" },
  },
  { architecture: "bitnet", type: "Q8_0", hiddenSize: 96, headSize: 32 },
];

/** Mixtures of experts: of each routing, both forms of down, types of rows and of blocks, and odd sizes. */
const expertCases: RandomModelOptions[] = [
  {
    architecture: "llama",
    type: "Q4_0",
    hiddenSize: 96,
    feedForwardSize: 160,
    expertCount: 6,
  },
  { architecture: "llama", ...odd, expertCount: 5, biases: true },
  {
    architecture: "turbosparsemixtral",
    type: "F16",
    feedForwardSize: 150,
    downByNeuron: true,
    expertCount: 4,
  },
  { architecture: "turbosparsemixtral", ...odd, expertCount: 3 },
  {
    architecture: "turbosparsemixtral",
    type: "Q4_K",
    hiddenSize: 256,
    feedForwardSize: 256,
    downByNeuron: true,
    expertCount: 3,
  },
  { architecture: "qwen3moe", headSize: 24, expertCount: 8, usedExperts: 3 },
  { architecture: "olmoe", ...odd, expertCount: 4, usedExperts: 4 },
  {
    architecture: "qwen2moe",
    ...odd,
    expertCount: 4,
    sharedExperts: 2,
    biases: true,
    keys: { activation: "relu" },
  },
  {
    architecture: "qwen2moe",
    type: "Q4_0",
    hiddenSize: 96,
    feedForwardSize: 64,
    expertCount: 3,
    usedExperts: 1,
    sharedExperts: 4,
  },
  {
    architecture: "gpt-oss",
    type: "MXFP4",
    hiddenSize: 96,
    feedForwardSize: 96,
    expertCount: 4,
    keys: { slidingWindow: 7, ropeScaling: "yarn", ropeScale: 4 },
  },
  { architecture: "gpt-oss", ...odd, expertCount: 4 },
  {
    architecture: "smallthinker",
    feedForwardSize: 80,
    downByNeuron: true,
    expertCount: 8,
    keys: { expertScoring: 2, expertScale: 1.5 },
  },
  {
    architecture: "smallthinker",
    ...odd,
    layerCount: 5,
    expertCount: 4,
    usedExperts: 1,
    keys: { slidingWindow: 4096 },
  },
];

function label(options: RandomModelOptions): string {
  return Object.entries(options)
    .filter(([name]) => name !== "seed")
    .map(([name, value]) =>
      `${name} ${JSON.stringify(value)}`.replaceAll('"', "")
    )
    .join(", ");
}

const all = [...typeCases, ...shapeCases, ...architectureCases, ...expertCases];
for (const options of all) {
  Deno.test(`places agree: ${label(options)}`, async () => {
    await comparePlaces(teams, options, { mode: "exact" });
  });
}

/** All shapes, and some architectures. */
const cacheCases = [...shapeCases, ...architectureCases.slice(-12)];

for (const options of cacheCases) {
  Deno.test(`places agree with a q8_0 cache: ${label(options)}`, async () => {
    await comparePlaces(teamsOfQ8, options, { mode: "exact" }, "q8_0");
  });
}
