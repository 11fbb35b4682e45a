/** Small random models of each architecture, whose log-probabilities llama.cpp has told. */
import { sentencePieceMetadata } from "../tokenizer/small_vocabularies.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "./random_model.ts";

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
