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
  /** Neurons of a layer (n_ff) */
  readonly feedForwardSize: number;
  /** Layers */
  readonly layerCount: number;
  /** Query heads */
  readonly headCount: number;
  /** Key and value heads */
  readonly kvHeadCount: number;
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
   * same weights with `ffn_down`, as the dense SwiGLU model that llama.cpp runs.
   */
  readonly form: "powerinfer" | "llama";
  /** Bamboo's `drelu`, or `reglu` as in ProSparse's files */
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
};

/** The least and the largest of each size. */
const ranges: Readonly<Record<keyof SynthShape, readonly [number, number]>> = {
  hiddenSize: [constantChannels + signalChannels + 32, 1 << 16],
  feedForwardSize: [32, 1 << 17],
  layerCount: [1, 256],
  headCount: [1, 1024],
  kvHeadCount: [1, 1024],
  vocabSize: [1, 1 << 20],
  contextSize: [1, 1 << 20],
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
  const { hiddenSize, feedForwardSize, headCount, kvHeadCount } = shape;
  const rules: [string, number, string, number][] = [
    ["hiddenSize", hiddenSize, "twice headCount", 2 * headCount],
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
  { form, activation }: Pick<SynthOptions, "form" | "activation">,
): "bamboo" | "llama" {
  return form === "powerinfer" && activation === "drelu" ? "bamboo" : "llama";
}
