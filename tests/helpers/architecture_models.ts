/** Small random models of each architecture, whose log-probabilities llama.cpp has told. */
import { sentencePieceMetadata } from "../tokenizer/small_vocabularies.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "./random_model.ts";

/** Positions stretched from 32. */
const yarn = { ropeScaling: "yarn", originalContextSize: 32 };

/** What parts each from the one before it, or from `llama`. */
const models: Record<string, RandomModelOptions> = {
  "llama": { architecture: "llama", layerCount: 3 },
  "llama, tied": { architecture: "llama", tied: true },
  "llama, heads larger than hidden": { architecture: "llama", headSize: 32 },
  "llama, linear rope scaling": { architecture: "llama", ropeScale: 4 },
  "llama, rope factors": { architecture: "llama", ropeFactors: true },
  "llama, biases": { architecture: "llama", biases: true },
  "qwen2": { architecture: "qwen2", layerCount: 3 },
  "qwen2, tied": { architecture: "qwen2", tied: true },
  "llama, scaling as it was once called": {
    architecture: "llama",
    keys: { oldRopeScale: 3 },
  },
  "llama, yarn": { architecture: "llama", keys: { ...yarn, ropeScale: 4 } },
  "mistral3, yarn and temperature": {
    architecture: "mistral3",
    keys: {
      ...yarn,
      ropeScale: 8,
      yarnBetaFast: 16,
      yarnBetaSlow: 2,
      yarnLogMultiplier: 0.5,
      temperatureScale: 0.2,
    },
  },
  "qwen3": { architecture: "qwen3", headSize: 24, layerCount: 3 },
  "gemma2": {
    architecture: "gemma2",
    tied: true,
    headSize: 24,
    layerCount: 3,
    keys: { slidingWindow: 9, scoreCap: 4, logitCap: 6 },
  },
  "gemma3": {
    architecture: "gemma3",
    tied: true,
    layerCount: 7,
    keys: {
      slidingWindow: 9,
      ropeBase: 1e6,
      ropeScaling: "linear",
      ropeScale: 8,
    },
  },
  "gemma3, its own base and pattern": {
    architecture: "gemma3",
    layerCount: 3,
    keys: {
      slidingWindow: 9,
      windowedRopeBase: 500,
      windowPattern: [false, true, true],
      logitCap: 5,
    },
  },
  "phi3": { architecture: "phi3", fused: true, vocabSize: 320 },
  "phi3, longrope of short texts": {
    architecture: "phi3",
    fused: true,
    longRope: 256,
    keys: { ropeSize: 12, ropeMagnitude: 1.2 },
  },
  "phi3, longrope of long texts": {
    architecture: "phi3",
    fused: true,
    longRope: 64,
    keys: { ropeMagnitude: 1.2 },
  },
  "smollm3": { architecture: "smollm3", layerCount: 5 },
  "granite": {
    architecture: "granite",
    biases: true,
    keys: {
      embeddingScale: 6,
      residualScale: 0.4,
      logitScale: 2,
      attentionScale: 0.1,
    },
  },
  "granite without rotation": {
    architecture: "granite",
    keys: { logitScale: 2, isRotated: false },
  },
  "minicpm, scales that go without saying": { architecture: "minicpm" },
  "olmo2": { architecture: "olmo2", layerCount: 3 },
  "olmo2, windows and yarn": {
    architecture: "olmo2",
    layerCount: 5,
    keys: { ...yarn, ropeScale: 4, slidingWindow: 9 },
  },
  "exaone4": { architecture: "exaone4", layerCount: 4 },
  "exaone4, windows": {
    architecture: "exaone4",
    hiddenSize: 32,
    feedForwardSize: 32,
    layerCount: 64,
    keys: { slidingWindow: 9 },
  },
  "arcee": { architecture: "arcee", layerCount: 3 },
  "nemotron": {
    architecture: "nemotron",
    biases: true,
    keys: { rmsEpsilon: undefined, layerEpsilon: 1e-5, ropeSize: 8 },
  },
  "llama with experts": {
    architecture: "llama",
    feedForwardSize: 40,
    expertCount: 8,
  },
  "qwen3moe": {
    architecture: "qwen3moe",
    headSize: 24,
    feedForwardSize: 40,
    expertCount: 8,
    usedExperts: 3,
  },
  "qwen2moe": {
    architecture: "qwen2moe",
    biases: true,
    feedForwardSize: 40,
    expertCount: 6,
    sharedExperts: 3,
  },
  "olmoe": {
    architecture: "olmoe",
    kvHeadCount: 4,
    feedForwardSize: 40,
    expertCount: 6,
  },
  "gpt-oss": {
    architecture: "gpt-oss",
    feedForwardSize: 32,
    expertCount: 4,
    layerCount: 3,
    keys: { slidingWindow: 9 },
  },
  "smallthinker": {
    architecture: "smallthinker",
    feedForwardSize: 40,
    expertCount: 8,
    layerCount: 3,
    keys: { expertScoring: 1 },
  },
  "smallthinker, sigmoid and windows": {
    architecture: "smallthinker",
    feedForwardSize: 40,
    expertCount: 8,
    usedExperts: 3,
    // So few that no two experts are so close that keys in f16 decide.
    layerCount: 2,
    keys: { expertScoring: 2, slidingWindow: 9 },
  },
  "bitnet": { architecture: "bitnet", tied: true, kvHeadCount: 4 },
};

/** Their names. */
export const architectureNames: readonly string[] = Object.keys(models);

/** Makes one, with a vocabulary, without which llama.cpp takes none. */
export function architectureModel(name: string): Promise<RandomModel> {
  const letters = Array.from("\u2581etaoinshrdlucmfwypvbgkqjxz");
  const pairs = Array.from(
    { length: 320 - 259 - letters.length },
    (_, i) => `${letters[i % 9]}${letters[9 + i % 11]}`,
  );
  return randomModel({
    vocabSize: 320,
    seed: 7,
    metadata: sentencePieceMetadata([...letters, ...new Set(pairs)]),
    ...models[name],
  });
}
