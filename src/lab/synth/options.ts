import { LimitError, UsageError } from "../../errors.ts";
import type { GgmlType } from "../../formats/ggml/types.ts";

/** Channels that hold the constant: a block of the commonest types, which stores equal weights exactly. */
export const constantChannels = 32;
/** Channels of the signal, which follow. */
export const signalChannels = 128;
/** What is required of a predictor. */
export interface PredictorOptions {
  /** Rows of `fc1`; 288 and more know the whole signal. */
  readonly rank: number;
  /** Share of the neurons that fire which it selects */
  readonly recall: number;
}

/** The sizes of a model, in elements. */
export interface SynthShape {
  /** Width of the residual stream (n_embd) */
  readonly hiddenSize: number;
  /** Neurons of a layer (n_ff), or of one of its experts */
  readonly feedForwardSize: number;
  /** Experts of a layer; no router where left out */
  readonly expertCount?: number;
  /** Of which a token chooses so many */
  readonly usedExperts?: number;
  /** Layers */
  readonly layerCount: number;
  /** Query heads */
  readonly headCount: number;
  /** Key and value heads */
  readonly kvHeadCount: number;
  /** Elements of a head; the residual stream's over all query heads where left out */
  readonly headSize?: number;
  /** Rows of embedding and output head */
  readonly vocabSize: number;
  /** The longest context that the file claims */
  readonly contextSize: number;
}

/** What to make. */
export interface SynthOptions {
  /** Sizes */
  readonly shape: SynthShape;
  /** Type of the matrices; norms are F32 */
  readonly type: GgmlType;
  /**
   * `powerinfer`: `ffn_down_t`, for engines that skip neurons. `llama`: the
   * same weights with `ffn_down`, as the model that llama.cpp runs: SwiGLU, but
   * for SmallThinker's experts.
   */
  readonly form: "powerinfer" | "llama";
  /** Bamboo's and TurboSparse's `drelu`, or `reglu` as in ProSparse's files and SmallThinker */
  readonly activation: "drelu" | "reglu";
  /** Share of the neurons whose gate is positive; in ReGLU those fire */
  readonly gatePositive: number;
  /** Share of the neurons that fire */
  readonly active: number;
  /** An activation predictor, in the powerinfer form */
  readonly predictor?: PredictorOptions;
  /** The same options and seed make the same file. */
  readonly seed: number;
}

function shape(
  hiddenSize: number,
  feedForwardSize: number,
  layerCount: number,
  headCount: number,
  kvHeadCount: number,
  vocabSize: number,
  contextSize: number,
): SynthShape {
  return {
    hiddenSize,
    feedForwardSize,
    layerCount,
    headCount,
    kvHeadCount,
    vocabSize,
    contextSize,
  };
}

/** Shapes by name: two small ones, and those of published sparse models. */
export const synthShapes: Readonly<Record<string, SynthShape>> = {
  tiny: shape(256, 1024, 4, 4, 2, 1024, 2048),
  small: shape(1024, 3584, 8, 16, 4, 4096, 4096),
  "bamboo-7b": shape(4096, 14336, 32, 32, 8, 32000, 32768),
  "prosparse-7b": shape(4096, 11008, 32, 32, 32, 32000, 4096),
  "prosparse-13b": shape(5120, 13824, 40, 40, 40, 32000, 4096),
  "smallthinker-4b": {
    ...shape(1536, 768, 32, 12, 2, 151936, 32768),
    expertCount: 32,
    usedExperts: 4,
  },
  "smallthinker-21b": {
    ...shape(2560, 768, 52, 28, 4, 151936, 32768),
    headSize: 128,
    expertCount: 64,
    usedExperts: 6,
  },
  "turbosparse-mixtral-47b": {
    ...shape(4096, 14336, 32, 32, 8, 57024, 32768),
    expertCount: 8,
    usedExperts: 2,
  },
};

/** Elements of a head. */
export function headSizeOf(
  { hiddenSize, headCount, headSize = hiddenSize / headCount }: SynthShape,
): number {
  return headSize;
}

/** The least and the largest of each size. */
const ranges: Readonly<Record<keyof SynthShape, readonly [number, number]>> = {
  hiddenSize: [constantChannels + signalChannels + 32, 1 << 16],
  feedForwardSize: [32, 1 << 17],
  layerCount: [1, 256],
  headCount: [1, 1024],
  kvHeadCount: [1, 1024],
  headSize: [2, 1024],
  vocabSize: [1, 1 << 20],
  contextSize: [1, 1 << 20],
  expertCount: [2, 1 << 10],
  usedExperts: [1, 1 << 10],
};

/**
 * Refuses sizes that contradict one another, or that no row of blocks has.
 *
 * @throws {UsageError} for sizes that make no model
 * @throws {LimitError} for sizes that no model has
 */
export function checkShape(shape: SynthShape, blockSize: number): void {
  for (const [name, [least, most]] of Object.entries(ranges)) {
    const size = shape[name as keyof SynthShape];
    if (size === undefined) continue;
    if (!Number.isInteger(size) || size < least) {
      throw new UsageError(
        `Cannot make a model of ${name} ${size}: needs a whole number from ${least} up`,
      );
    }
    if (size > most) {
      throw new LimitError(
        `Cannot make a model of ${name} ${size}: the limit is ${most}`,
      );
    }
  }
  const { hiddenSize, feedForwardSize, headCount, kvHeadCount, headSize } =
    shape;
  const { expertCount = 0, usedExperts = 0 } = shape;
  if (
    expertCount > 0 ? !usedExperts || usedExperts > expertCount : usedExperts
  ) {
    throw new UsageError(
      `Cannot make a model that uses ${usedExperts} of ${expertCount} experts`,
    );
  }
  const rules: [string, number, string, number][] = [
    headSize === undefined
      ? ["hiddenSize", hiddenSize, "twice headCount", 2 * headCount]
      : ["headSize", headSize, "a pair", 2],
    ["headCount", headCount, "kvHeadCount", kvHeadCount],
    ["hiddenSize", hiddenSize, "the type's block", blockSize],
    ["feedForwardSize", feedForwardSize, "the type's block", blockSize],
  ];
  for (const [name, size, divisorName, divisor] of rules) {
    if (size % divisor !== 0) {
      throw new UsageError(
        `Cannot make a model of ${name} ${size}: needs a multiple of ${divisor} (${divisorName})`,
      );
    }
  }
}

/** `general.architecture` of a file that has such an activation in such a form. */
export function architectureOf(
  { form, activation, shape }: Pick<
    SynthOptions,
    "form" | "activation" | "shape"
  >,
): "bamboo" | "llama" | "smallthinker" | "turbosparsemixtral" {
  if (shape.expertCount) {
    if (activation === "reglu") return "smallthinker";
    return form === "powerinfer" ? "turbosparsemixtral" : "llama";
  }
  return form === "powerinfer" && activation === "drelu" ? "bamboo" : "llama";
}
