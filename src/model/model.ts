/**
 * What a model file says of the model: hyper-parameters, and where each tensor
 * lies. Frozen, and ignorant of where anything runs.
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import { checkValue } from "../options.ts";
import type { GgufFile, TensorInfo } from "../formats/gguf/gguf_file.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { getArray, getNumber, getString } from "../formats/gguf/metadata.ts";
import {
  type ActivationChoice,
  activationOption,
  chosenActivation,
} from "./activation.ts";
import {
  type Architecture,
  architectures,
  plainTraits,
} from "./architectures.ts";
import { type Routing, withoutExpertSides } from "./experts.ts";
import { unbundled } from "./neuron_bundle.ts";
import { isFused, unfused } from "./fused.ts";
import { HyperParameterReader } from "./hyper_parameters.ts";
import { withSharedExperts } from "./shared_experts.ts";
import { readRotation } from "./rotation.ts";
import {
  ggufName,
  type LayerTensorName,
  layerTensorNames,
  type PerLayer,
  type PerTensor,
  shapeOf,
  type SideLengths,
  sideLengths,
  type TensorName,
  tensorOfGguf,
  tensorSchemas,
} from "./schema.ts";
import type { Traits } from "./traits.ts";

/** The tensors of one layer, called what GGUF calls them, without `blk.N.` and `.weight`. */
export type LayerTensors = PerLayer<TensorInfo>;

/** A model's hyper-parameters, traits and tensors. Sizes count elements. */
export interface Model extends PerTensor<TensorInfo>, Traits {
  /** `general.architecture` */
  readonly architecture: string;
  /** `general.name`, where the file has one */
  readonly name?: string;
  /** Width of the residual stream (n_embd) */
  readonly hiddenSize: number;
  /** Neurons of one layer's FFN (n_ff), of all its experts together */
  readonly feedForwardSize: number;
  /** Experts of one layer's FFN; 1 where there is no router */
  readonly expertCount: number;
  /** Query heads (n_head) */
  readonly headCount: number;
  /** Key and value heads (n_head_kv); each serves `headCount / kvHeadCount` query heads */
  readonly kvHeadCount: number;
  /** Elements of one head */
  readonly headSize: number;
  /** How many elements of a head rotate (n_rot) */
  readonly ropeSize: number;
  /** Rows of the embedding and of the output head */
  readonly vocabSize: number;
  /** The longest context that the model was made for, in tokens */
  readonly contextSize: number;
  /** A neuron is computed where its layer's predictor gives it at least this; by layer */
  readonly sparseThresholds: readonly number[];
  /**
   * Whether predictors are linear and read the normed residual, fc2 · fc1 · n(x),
   * as culm makes them; PowerInfer's are fc2 · relu(fc1 · x)
   */
  readonly linearPredictor: boolean;
  /** All weights in the file, padding left out */
  readonly parameterCount: number;
}

/** What a caller may set over the file's word. */
export interface ModelOptions {
  /** Overrides the activation that architecture and file form imply. */
  activation?: ActivationChoice;
}

/** Sizes above these are refused: no model has them, and buffers are sized by them. */
export const limits = {
  contextSize: 1 << 20,
  layers: 4096,
  headSize: 1 << 10,
  experts: 1 << 10,
};

/**
 * Reads hyper-parameters and checks every tensor's shape against them.
 *
 * @throws {UsageError} for an activation that there is not
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
  checkValue("activation", activationOption, options.activation);
  const name = getString(file, "general.architecture");
  if (name === undefined) throw fault("general.architecture is missing");
  const architecture = architectures.get(name);
  if (!architecture) {
    throw new UnsupportedError(
      `Cannot run architecture "${printable(name)}": culm runs ${
        [...architectures.keys()].join(", ")
      }${whatIsNew(file)}`,
    );
  }
  const keys = new HyperParameterReader(file, name);
  const hiddenSize = keys.size("hiddenSize");
  const routing = readRouting(architecture, keys);
  const neurons = keys.size("feedForwardSize");
  const expertSize = routing ? keys.size("expertSize", neurons) : neurons;
  const shared = routing && architecture.sharesExpert
    ? sharedExperts(keys.size("sharedExpertSize", neurons), expertSize)
    : 0;
  const routed = routing ? keys.size("expertCount") : 1;
  const expertCount = routed + shared;
  const feedForwardSize = expertCount * expertSize;
  const headCount = keys.size("headCount");
  const kvHeadCount = keys.size("kvHeadCount", headCount);
  const each = Math.floor(hiddenSize / headCount) || 1;
  const headSize = keys.size("headSize", each);
  const ropeSize = keys.size("ropeSize", headSize);
  const layerCount = keys.size("layerCount");
  const contextSize = keys.size("contextSize", 2048);
  const valueLength = keys.size("valueSize", headSize);
  refuseIf(
    valueLength !== headSize,
    `attention.value_length ${valueLength} differs from key length ${headSize}`,
  );
  faultIf(
    headCount % kvHeadCount !== 0,
    `head_count ${headCount} is no multiple of head_count_kv ${kvHeadCount}`,
  );
  faultIf(
    ropeSize > headSize || ropeSize % 2 !== 0,
    `rope.dimension_count ${ropeSize} does not fit heads of ${headSize}`,
  );
  faultIf(headSize % 2, `heads of ${headSize} elements cannot be rotated`);
  faultIf(
    headSize > limits.headSize,
    `heads of ${headSize} elements, the limit is ${limits.headSize}`,
  );
  faultIf(
    layerCount > limits.layers,
    `block_count ${layerCount}, the limit is ${limits.layers}`,
  );

  const sizes = {
    hiddenSize,
    headCount,
    kvHeadCount,
    headSize,
    feedForwardSize,
    expertCount,
    ropeSize,
    qkNorm: architecture.qkNorm,
  };
  const found = unfused(
    withSharedExperts(
      withoutExpertSides(
        byOwnNames(unbundled(file.tensors), architecture),
        routed,
      ),
      { hiddenSize, expertSize, routed, shared },
    ),
    sizes,
    architecture.fusesGate,
  );
  const unused = new Set(found.keys());
  const lengths: SideLengths<number | undefined> = {
    ...sideLengths(sizes),
    vocab: found.get(ggufName("token_embd"))?.shape[1] ?? 1,
    rank: undefined,
  };
  const find = (own: TensorName, layer?: number): TensorInfo | undefined => {
    const known = ggufName(own, layer);
    const tensor = found.get(known);
    if (!tensor) return undefined;
    unused.delete(known);
    checkShape(tensor, shapeOf(own, lengths));
    const { name, type, shape } = tensor;
    refuseIf(
      shape.length === 1 && type !== "F32",
      `${name} of type ${type}: norms, biases and factors are F32`,
    );
    return tensor;
  };
  const need = (own: TensorName, layer?: number): TensorInfo => {
    const tensor = find(own, layer);
    if (tensor) return tensor;
    throw fault(
      `tensor ${ggufName(own, layer, routing !== undefined)} is missing`,
    );
  };

  const token_embd = need("token_embd");
  const vocabSize = token_embd.shape[1] ?? 1;
  const vocabulary = getArray(file, "tokenizer.ggml.tokens");
  faultIf(
    vocabulary && vocabulary.values.length !== vocabSize,
    `the vocabulary has ${vocabulary?.values.length} tokens, token_embd.weight has ${vocabSize} rows`,
  );
  const needs = new Set<TensorName>(architecture.needs);
  if (routing) needs.add("ffn_gate_inp");
  const takes = new Set<TensorName>(architecture.takes);
  const get = (own: TensorName, layer?: number) => {
    if (!tensorSchemas[own].optional || needs.has(own)) return need(own, layer);
    return takes.has(own) ? find(own, layer) : undefined;
  };
  const layers = Array.from({ length: layerCount }, (_, index) => {
    const tensors: Partial<Record<LayerTensorName, TensorInfo>> = {};
    for (const own of layerTensorNames) {
      const tensor = get(own, index);
      if (tensor) tensors[own] = tensor;
    }
    const layer = tensors as LayerTensors;
    checkLayer(layer, index, expertCount);
    return Object.freeze(layer);
  });
  const tensors = {
    layers: Object.freeze(layers),
    token_embd,
    output_norm: need("output_norm"),
    output: find("output") ?? token_embd,
    output_norm_bias: get("output_norm_bias"),
    rope_freqs: get("rope_freqs"),
    rope_factors_long: get("rope_factors_long"),
    rope_factors_short: get("rope_factors_short"),
  };
  const [stranger = ""] = unused;
  refuseIf(
    unused.size,
    `tensor ${
      printable(stranger)
    }, which architecture "${name}" does not have here`,
  );

  let parameterCount = 0;
  for (const { shape } of file.tensors.values()) {
    parameterCount += shape.reduce((product, side) => product * side, 1);
  }
  const sparseThreshold = getNumber(file, "powerinfer.sparse_threshold") ?? 0;
  faultIf(
    !Number.isFinite(sparseThreshold),
    `powerinfer.sparse_threshold is ${sparseThreshold}, needs a number`,
  );
  const header = {
    ...sizes,
    keys,
    layerCount,
    originalContextSize: keys.size("originalContextSize", contextSize),
    rotation: readRotation(keys, contextSize),
  };
  return Object.freeze({
    architecture: name,
    name: getString(file, "general.name"),
    ...sizes,
    ...tensors,
    vocabSize,
    contextSize: Math.min(contextSize, limits.contextSize),
    ...plainTraits(architecture, header),
    routing: shared > 0
      ? { ...routing!, used: routing!.used + shared, shared }
      : routing,
    ...architecture.traits?.(header),
    ...chosenActivation(
      options.activation ??
        architecture.activation(file.magic, layers[0], keys.text("activation")),
    ),
    sparseThresholds: Object.freeze(layers.map(() => sparseThreshold)),
    linearPredictor: false,
    parameterCount,
  });
}

/** How many experts a shared one is. */
function sharedExperts(sharedSize: number, expertSize: number): number {
  refuseIf(
    sharedSize % expertSize !== 0,
    `a shared expert of ${sharedSize} neurons, which is no multiple of the ${expertSize} of the others`,
  );
  return sharedSize / expertSize;
}

/** How tokens choose among experts, where the file has several. */
function readRouting(
  { routing, needs }: Architecture,
  keys: HyperParameterReader,
): Routing | undefined {
  const count = keys.count("expertCount", 0);
  // llama.cpp takes one expert for none.
  if (count <= 1) {
    faultIf(
      needs.includes("ffn_gate_inp"),
      `expert_count is ${count}, architecture "${keys.architecture}" has several`,
    );
    return undefined;
  }
  refuseIf(
    !routing,
    `architecture "${keys.architecture}" as a mixture of experts (expert_count is ${count})`,
  );
  const used = keys.size("usedExperts");
  // No architecture has it here: llama.cpp would take their layers for mixtures all the same.
  const dense = keys.count("denseLayers", 0);
  refuseIf(
    dense > 0,
    `a mixture of experts whose first layers are dense (leading_dense_block_count is ${dense})`,
  );
  faultIf(
    count > limits.experts,
    `expert_count ${count}, the limit is ${limits.experts}`,
  );
  faultIf(
    used > count,
    `expert_used_count ${used}, of ${count} experts`,
  );
  return {
    used,
    scale: keys.optional("expertScale") ?? 1,
    ...routing!(keys),
  };
}

/** A file's tensors, those that the architecture's files call otherwise by the schema's names. */
function byOwnNames(
  tensors: ReadonlyMap<string, TensorInfo>,
  { names = {} }: Architecture,
): ReadonlyMap<string, TensorInfo> {
  return new Map(
    Array.from(tensors, ([name, tensor]) => {
      const [, block, own] = /^(blk\.\d+\.)(\w+)\.weight$/.exec(name) ?? [];
      const meant = Object.hasOwn(names, own) ? names[own] : undefined;
      return [meant ? `${block}${meant}.weight` : name, tensor];
    }),
  );
}

/** What tensors of one layer must be to one another. */
function checkLayer(
  { ffn_down, ffn_down_t, fc1, fc2 }: LayerTensors,
  layer: number,
  expertCount: number,
): void {
  const at = (name: LayerTensorName) => ggufName(name, layer);
  faultIf(
    !ffn_down === !ffn_down_t,
    `layer ${layer} needs one of ${at("ffn_down")} and ${
      at("ffn_down_t")
    }, has ${ffn_down ? "both" : "neither"}`,
  );
  const down = (fc1?.shape[1] ?? 0) / expertCount, up = fc2?.shape[0] ?? 0;
  if (!fc1 !== !fc2 || down !== up) {
    throw new FormatError(
      `Cannot read the predictor of layer ${layer}: ${
        at("fc1")
      } has rank ${down}, ${at("fc2")} has ${up}`,
    );
  }
}

/** Names that are shown, at most. */
const mostShown = 5;

/** What an unknown architecture has that no known one has, as far as tensors tell. */
function whatIsNew({ tensors }: GgufFile): string {
  const strangers = new Set(
    [...tensors.keys()].filter((name) => !isFused(name) && !tensorOfGguf(name))
      .map((name) => name.replace(/^blk\.\d+\./, "").replace(/\.weight$/, "")),
  );
  if (strangers.size === 0) return "";
  const shown = [...strangers].slice(0, mostShown).map(printable).join(", ");
  const rest = strangers.size - mostShown;
  return `; new in this one: ${shown}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function fault(what: string): FormatError {
  return new FormatError(`Cannot read the model: ${what}`);
}

function faultIf(condition: unknown, what: string): void {
  if (condition) throw fault(what);
}

function refuseIf(condition: unknown, what: string): void {
  if (condition) throw new UnsupportedError(`Cannot run ${what}`);
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
    const needed = expected.map((side) => side ?? "any").join(", ");
    throw new FormatError(
      `Cannot read tensor ${tensor.name}: its shape is [${
        tensor.shape.join(", ")
      }], the model needs [${needed}]`,
    );
  }
}
