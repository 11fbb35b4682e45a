/**
 * Files that PowerInfer's own tools made: of the corner of tiny-bamboo that is in
 * the repository, and of all of it where its makers' files are here.
 */
import { fixtureUrl } from "./fixtures.ts";
import { hasShared, sharedUrl } from "./shared_data.ts";

/** Which of the four: a type, and whether in PowerInfer's form. */
export type PowerInferFile =
  | "f16"
  | "q8_0"
  | "f16.powerinfer"
  | "q4_0.powerinfer";

/** A model, as its makers' folder and as PowerInfer's files. */
export interface PowerInferFiles {
  readonly name: string;
  readonly sizes: {
    hidden: number;
    ffn: number;
    layers: number;
    vocab: number;
  };
  /** Tensors of a file of either form */
  readonly tensors: { dense: number; sparse: number };
  /** Fewer than `q4_0.powerinfer` holds in Q4_0, and ties among them */
  readonly q4_0: { weights: number; ties: number };
  urlOf(file: PowerInferFile): URL;
  /** The Hugging Face folder, or that of the predictors */
  folder(name: "hf" | "predictor"): URL;
}

const small: PowerInferFiles = {
  name: "a corner of tiny-bamboo",
  sizes: { hidden: 64, ffn: 64, layers: 2, vocab: 288 },
  tensors: { dense: 21, sparse: 25 },
  q4_0: { weights: 70_000, ties: 16 },
  urlOf: (file) => fixtureUrl(`small-bamboo/${file}.gguf`),
  folder: (name) => fixtureUrl(`small-bamboo/${name}`),
};

const whole: PowerInferFiles = {
  name: "tiny-bamboo",
  sizes: { hidden: 256, ffn: 1024, layers: 6, vocab: 4096 },
  tensors: { dense: 57, sparse: 69 },
  q4_0: { weights: 7_000_000, ties: 768 },
  urlOf: (file) => sharedUrl(`tiny-bamboo/gguf/tiny-bamboo-${file}.gguf`),
  folder: (name) => sharedUrl(`tiny-bamboo/${name}`),
};

/** All that are here. */
export const powerInferFiles: readonly PowerInferFiles[] = [
  small,
  ...(hasShared("tiny-bamboo/gguf") ? [whole] : []),
];
