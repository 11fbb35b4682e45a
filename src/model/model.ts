/**
 * What a model file says of the model: hyper-parameters, and where each tensor
 * lies. Frozen, and ignorant of where anything runs.
 *
 * @module
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import {
  getArray,
  getNumber,
  getString,
  type GgufFile,
  type TensorInfo,
} from "../formats/gguf/read.ts";
import { architectures } from "./architectures.ts";

/**
 * How gate and up make a neuron's value h:
 * `drelu` relu(g)·relu(u), `reglu` relu(g)·u, `swiglu` silu(g)·u.
 * The first two leave most neurons exactly zero.
 */
export type Activation = "drelu" | "reglu" | "swiglu";

/** The tensors of one layer, called what GGUF calls them, without `blk.N.` and `.weight`. */
export interface LayerTensors {
  /** `[hiddenSize]` */
  readonly attn_norm: TensorInfo;
  /** `[hiddenSize, headCount · headSize]`, rows permuted for interleaved rotation */
  readonly attn_q: TensorInfo;
  /** `[hiddenSize, kvHeadCount · headSize]`, permuted likewise */
  readonly attn_k: TensorInfo;
  /** `[hiddenSize, kvHeadCount · headSize]` */
  readonly attn_v: TensorInfo;
  /** `[headCount · headSize, hiddenSize]` */
  readonly attn_output: TensorInfo;
  /** `[hiddenSize]` */
  readonly ffn_norm: TensorInfo;
  /** `[hiddenSize, feedForwardSize]` */
  readonly ffn_gate: TensorInfo;
  /** `[hiddenSize, feedForwardSize]` */
  readonly ffn_up: TensorInfo;
  /** `[feedForwardSize, hiddenSize]`: a row for each output; absent in PowerInfer files */
  readonly ffn_down?: TensorInfo;
  /** `[hiddenSize, feedForwardSize]`: a row for each neuron; PowerInfer's form of down */
  readonly ffn_down_t?: TensorInfo;
  /** Predictor, `[hiddenSize, rank]`; the rank may differ from layer to layer */
  readonly fc1?: TensorInfo;
  /** Predictor, `[rank, feedForwardSize]` */
  readonly fc2?: TensorInfo;
}

/** A model's hyper-parameters and tensors. Sizes count elements. */
export interface Model {
  /** `general.architecture` */
  readonly architecture: string;
  /** `general.name`, where the file has one */
  readonly name?: string;
  /** Width of the residual stream (n_embd) */
  readonly hiddenSize: number;
  /** Neurons of one layer's FFN (n_ff) */
  readonly feedForwardSize: number;
  /** Query heads (n_head) */
  readonly headCount: number;
  /** Key and value heads (n_head_kv); each serves `headCount / kvHeadCount` query heads */
  readonly kvHeadCount: number;
  /** Elements of one head */
  readonly headSize: number;
  /** Rows of the embedding and of the output head */
  readonly vocabSize: number;
  /** The longest context that the model was made for, in tokens */
  readonly contextSize: number;
  /** Epsilon of every RMS norm */
  readonly rmsEpsilon: number;
  /** How many elements of a head rotate (n_rot) */
  readonly ropeSize: number;
  /** Base of the rotation's frequencies */
  readonly ropeBase: number;
  /** Positions are divided by this (linear rope scaling) */
  readonly ropeScale: number;
  /** Attention reaches this many positions back, itself included; `undefined` = all */
  readonly slidingWindow?: number;
  /** What makes a neuron's value of gate and up */
  readonly activation: Activation;
  /** A neuron is computed where its layer's predictor gives it at least this; by layer */
  readonly sparseThresholds: readonly number[];
  /**
   * Whether predictors are linear and read the normed residual, fc2 · fc1 · n(x),
   * as culm makes them; PowerInfer's are fc2 · relu(fc1 · x)
   */
  readonly linearPredictor: boolean;
  /** All weights in the file, padding left out */
  readonly parameterCount: number;
  /** The layers, first to last */
  readonly layers: readonly LayerTensors[];
  /** `[hiddenSize, vocabSize]` */
  readonly token_embd: TensorInfo;
  /** `[hiddenSize]` */
  readonly output_norm: TensorInfo;
  /** `[hiddenSize, vocabSize]`; the same object as `token_embd` where the two are tied */
  readonly output: TensorInfo;
  /** `[ropeSize / 2]`: divisors of the rotation's frequencies */
  readonly rope_freqs?: TensorInfo;
}

/** What a caller may set over the file's word. */
export interface ModelOptions {
  /** Overrides the activation that architecture and file form imply. */
  activation?: Activation;
}

/** Sizes above these are refused: no model has them, and buffers are sized by them. */
const limits = {
  contextSize: 1 << 20,
  layers: 4096,
  headSize: 1 << 10,
};

/**
 * Reads hyper-parameters and checks every tensor's shape against them.
 *
 * @throws {UnsupportedError} for an architecture or a feature that culm cannot run
 * @throws {FormatError} where keys, tensors and shapes contradict one another
 *
 * @example
 * ```ts ignore
 * const model = describeModel(await readGguf(source));
 * console.log(model.architecture, model.layers.length);
 * ```
 */
export function describeModel(
  file: GgufFile,
  options: ModelOptions = {},
): Model {
  const name = getString(file, "general.architecture");
  if (name === undefined) {
    throw new FormatError(
      "Cannot read the model: general.architecture is missing",
    );
  }
  const architecture = architectures[name];
  if (!architecture) {
    throw new UnsupportedError(
      `Cannot run architecture "${name}": culm runs ${
        Object.keys(architectures).join(", ")
      }`,
    );
  }
  const size = (key: string, fallback?: number): number => {
    const value = getNumber(file, `${name}.${key}`) ?? fallback;
    if (value === undefined) {
      throw new FormatError(`Cannot read the model: ${name}.${key} is missing`);
    }
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new FormatError(
        `Cannot read the model: ${name}.${key} is ${value}, needs a whole number above 0`,
      );
    }
    return value;
  };
  const real = (key: string, fallback: number): number => {
    const value = getNumber(file, `${name}.${key}`) ?? fallback;
    if (!(value > 0 && value < 1e30)) {
      throw new FormatError(
        `Cannot read the model: ${name}.${key} is ${value}, needs a number above 0`,
      );
    }
    return value;
  };

  const hiddenSize = size("embedding_length");
  const feedForwardSize = size("feed_forward_length");
  const headCount = size("attention.head_count");
  const kvHeadCount = size("attention.head_count_kv", headCount);
  const headSize = size(
    "attention.key_length",
    Math.floor(hiddenSize / headCount) || 1,
  );
  const ropeSize = size("rope.dimension_count", headSize);
  const layerCount = size("block_count");
  const contextSize = size("context_length", 2048);
  const valueLength = size("attention.value_length", headSize);
  refuseIf(
    valueLength !== headSize,
    `attention.value_length ${valueLength} differs from key length ${headSize}`,
  );
  refuseIf(
    getNumber(file, `${name}.expert_count`),
    "mixtures of experts (expert_count is set)",
  );
  const scaling = getString(file, `${name}.rope.scaling.type`) ?? "none";
  refuseIf(
    scaling !== "none" && scaling !== "linear",
    `rope scaling of type "${scaling}" (none and linear are)`,
  );
  const contradictions: [boolean, string][] = [
    [
      headCount % kvHeadCount !== 0,
      `head_count ${headCount} is no multiple of head_count_kv ${kvHeadCount}`,
    ],
    [
      ropeSize > headSize || ropeSize % 2 !== 0,
      `rope.dimension_count ${ropeSize} does not fit heads of ${headSize}`,
    ],
    [headSize % 2 !== 0, `heads of ${headSize} elements cannot be rotated`],
    [
      headSize > limits.headSize,
      `heads of ${headSize} elements, the limit is ${limits.headSize}`,
    ],
    [
      layerCount > limits.layers,
      `block_count ${layerCount}, the limit is ${limits.layers}`,
    ],
  ];
  for (const [wrong, what] of contradictions) {
    if (wrong) throw new FormatError(`Cannot read the model: ${what}`);
  }

  const unused = new Set(file.tensors.keys());
  const find = (
    tensorName: string,
    ...shape: (number | undefined)[]
  ): TensorInfo | undefined => {
    const tensor = file.tensors.get(tensorName);
    if (!tensor) return undefined;
    unused.delete(tensorName);
    checkShape(tensor, shape);
    return tensor;
  };
  const need = (
    tensorName: string,
    ...shape: (number | undefined)[]
  ): TensorInfo => {
    const tensor = find(tensorName, ...shape);
    if (!tensor) {
      throw new FormatError(
        `Cannot read the model: tensor ${tensorName} is missing`,
      );
    }
    return tensor;
  };

  const qSize = headCount * headSize;
  const kvSize = kvHeadCount * headSize;
  const token_embd = need("token_embd.weight", hiddenSize, undefined);
  const vocabSize = token_embd.shape[1] ?? 1;
  const vocabulary = getArray(file, "tokenizer.ggml.tokens");
  if (vocabulary && vocabulary.values.length !== vocabSize) {
    throw new FormatError(
      `Cannot read the model: the vocabulary has ${vocabulary.values.length} tokens, token_embd.weight has ${vocabSize} rows`,
    );
  }
  const layers = Array.from({ length: layerCount }, (_, index) => {
    const at = (tensor: string) => `blk.${index}.${tensor}.weight`;
    const layer: LayerTensors = {
      attn_norm: need(at("attn_norm"), hiddenSize),
      attn_q: need(at("attn_q"), hiddenSize, qSize),
      attn_k: need(at("attn_k"), hiddenSize, kvSize),
      attn_v: need(at("attn_v"), hiddenSize, kvSize),
      attn_output: need(at("attn_output"), qSize, hiddenSize),
      ffn_norm: need(at("ffn_norm"), hiddenSize),
      ffn_gate: need(at("ffn_gate"), hiddenSize, feedForwardSize),
      ffn_up: need(at("ffn_up"), hiddenSize, feedForwardSize),
      ffn_down: find(at("ffn_down"), feedForwardSize, hiddenSize),
      ffn_down_t: find(at("ffn_down_t"), hiddenSize, feedForwardSize),
      fc1: find(at("fc1"), hiddenSize, undefined),
      fc2: find(at("fc2"), undefined, feedForwardSize),
    };
    if (!layer.ffn_down === !layer.ffn_down_t) {
      throw new FormatError(
        `Cannot read the model: layer ${index} needs one of ${
          at("ffn_down")
        } and ${at("ffn_down_t")}, has ${layer.ffn_down ? "both" : "neither"}`,
      );
    }
    if (
      !layer.fc1 !== !layer.fc2 || rank(layer.fc1, 1) !== rank(layer.fc2, 0)
    ) {
      throw new FormatError(
        `Cannot read the predictor of layer ${index}: ${at("fc1")} has rank ${
          rank(layer.fc1, 1)
        }, ${at("fc2")} has ${rank(layer.fc2, 0)}`,
      );
    }
    return Object.freeze(layer);
  });
  const output_norm = need("output_norm.weight", hiddenSize);
  const output = find("output.weight", hiddenSize, vocabSize) ?? token_embd;
  const rope_freqs = find("rope_freqs.weight", ropeSize / 2);
  for (const tensor of [rope_freqs, output_norm]) requireFloat(tensor);
  for (const { attn_norm, ffn_norm } of layers) {
    requireFloat(attn_norm);
    requireFloat(ffn_norm);
  }
  const [stranger] = unused;
  refuseIf(
    stranger,
    `tensor ${stranger}, which architecture "${name}" does not have here`,
  );

  let parameterCount = 0;
  for (const { shape } of file.tensors.values()) {
    parameterCount += shape.reduce((product, side) => product * side, 1);
  }
  const sparseThreshold = getNumber(file, "powerinfer.sparse_threshold") ?? 0;
  const window = getNumber(file, `${name}.attention.sliding_window`);
  return Object.freeze({
    architecture: name,
    name: getString(file, "general.name"),
    hiddenSize,
    feedForwardSize,
    headCount,
    kvHeadCount,
    headSize,
    vocabSize,
    contextSize: Math.min(contextSize, limits.contextSize),
    rmsEpsilon: real("attention.layer_norm_rms_epsilon", 1e-5),
    ropeSize,
    ropeBase: real("rope.freq_base", 10000),
    ropeScale: scaling === "linear" ? real("rope.scaling.factor", 1) : 1,
    slidingWindow: window !== undefined && window > 0 ? window : undefined,
    activation: options.activation ??
      architecture.activation(
        file.magic,
        layers[0],
        getString(file, `${name}.hidden_activation`),
      ),
    sparseThresholds: Object.freeze(layers.map(() => sparseThreshold)),
    linearPredictor: false,
    parameterCount,
    layers: Object.freeze(layers),
    token_embd,
    output_norm,
    output,
    rope_freqs,
  });
}

/** Whether neurons of this activation are exactly zero where the gate is not positive. */
export function isSparse(activation: Activation): boolean {
  return activation !== "swiglu";
}

function rank(tensor: TensorInfo | undefined, side: number): number {
  return tensor?.shape[side] ?? 0;
}

function refuseIf(condition: unknown, what: string): void {
  if (condition) throw new UnsupportedError(`Cannot run ${what}`);
}

function requireFloat(tensor: TensorInfo | undefined): void {
  refuseIf(
    tensor && tensor.type !== "F32",
    `${tensor?.name} of type ${tensor?.type}: norms and factors are F32`,
  );
}

/** `undefined` in the expected shape stands for any length. */
function checkShape(
  tensor: TensorInfo,
  expected: (number | undefined)[],
): void {
  const actual = [...tensor.shape];
  while (actual.length > expected.length && actual.at(-1) === 1) actual.pop();
  while (actual.length < expected.length) actual.push(1);
  const fits = actual.length === expected.length &&
    expected.every((side, i) => side === undefined || side === actual[i]);
  if (!fits) {
    throw new FormatError(
      `Cannot read tensor ${tensor.name}: its shape is [${
        tensor.shape.join(", ")
      }], the model needs [${
        expected.map((side) => side ?? "any").join(", ")
      }]`,
    );
  }
}
