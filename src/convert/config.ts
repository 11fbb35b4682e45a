import { FormatError, UnsupportedError } from "../errors.ts";
import type { MetadataEntry } from "../formats/gguf/gguf_file.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject } from "../formats/json.ts";
import type { Activation } from "../model/activation.ts";
import {
  hyperParameterMetadata,
  type HyperParameters,
} from "../model/hyper_parameters.ts";

/** What a config says of the model. Sizes count elements. */
export interface Config {
  /** GGUF's `general.architecture` */
  readonly architecture: "bamboo" | "llama" | "qwen2";
  /** What makes a neuron's value */
  readonly activation: Activation;
  /** Query heads */
  readonly headCount: number;
  /** Key and value heads */
  readonly kvHeadCount: number;
  /** Elements of one head */
  readonly headSize: number;
  /** Tokens; 0 where the config does not say */
  readonly vocabSize: number;
  /** Whether the embedding is the output head as well */
  readonly isTied: boolean;
  /** Divisors of the rotation's frequencies, `[headSize / 2]`, as Llama 3 has them */
  readonly ropeFactors?: Float32Array;
  /** The model's keys of GGUF, with the architecture's name before them */
  readonly metadata: readonly (readonly [string, MetadataEntry])[];
  /** What GGUF cannot say */
  readonly notes: readonly string[];
}

/** `general.architecture` by `model_type`. */
const architectures: ReadonlyMap<string, Config["architecture"]> = new Map([
  ["bamboo", "bamboo"],
  ["llama", "llama"],
  ["mistral", "llama"],
  ["qwen2", "qwen2"],
  // ProSparse.
  ["sparsellama", "llama"],
]);

/**
 * Reads a config. `name` is its file's, for messages.
 *
 * @throws {UnsupportedError} for models other than Bamboo, Llama, Mistral, ProSparse and Qwen2, and features that culm cannot run
 * @throws {FormatError} where a size is missing or makes no sense
 */
export function readConfig(json: JsonObject, name: string): Config {
  const architecture = architectureOf(json, name);
  const size = (key: string, fallback?: number): number => {
    const value = json[key] ?? fallback;
    if (Number.isSafeInteger(value) && value as number >= 1) {
      return value as number;
    }
    throw new FormatError(
      `Cannot read ${name}: ${key} is ${
        shown(value)
      }, needs a whole number above 0`,
    );
  };
  const hiddenSize = size("hidden_size");
  const headCount = size("num_attention_heads");
  const kvHeadCount = size("num_key_value_heads", headCount);
  const headSize = size("head_dim", Math.floor(hiddenSize / headCount) || 1);
  const contextSize = size("max_position_embeddings", 2048);
  if (headCount % kvHeadCount !== 0 || headSize % 2 !== 0) {
    throw new FormatError(
      `Cannot read ${name}: ${headCount} heads of ${headSize} elements with ${kvHeadCount} key heads make no model`,
    );
  }
  const rope = readRope(json, name, headSize);
  const { activation, note } = readActivation(json, name, architecture);
  const isUsual = headSize * headCount === hiddenSize;
  const layerCount = size("num_hidden_layers");
  const metadata = hyperParameterMetadata(architecture, {
    contextSize,
    hiddenSize,
    layerCount,
    feedForwardSize: size("intermediate_size"),
    ropeSize: headSize,
    headCount,
    kvHeadCount,
    rmsEpsilon: positive(json.rms_norm_eps ?? 1e-6, name, "rms_norm_eps"),
    ...rope.keys,
    headSize: isUsual ? undefined : headSize,
    valueSize: isUsual ? undefined : headSize,
    slidingWindow: readWindow(json, name, contextSize, layerCount),
    activation: activation === "reglu" ? "relu" : undefined,
  });
  return {
    architecture,
    activation,
    headCount,
    kvHeadCount,
    headSize,
    vocabSize: json.vocab_size === undefined ? 0 : size("vocab_size"),
    isTied: json.tie_word_embeddings === true,
    ropeFactors: rope.factors,
    metadata,
    notes: note ? [note] : [],
  };
}

function architectureOf(
  json: JsonObject,
  name: string,
): Config["architecture"] {
  const { model_type: type, architectures: classes } = json;
  const first = Array.isArray(classes) ? classes[0] : undefined;
  const names = [type, first].filter((each) => typeof each === "string");
  for (const each of names) {
    const key = each.replace(/ForCausalLM$/, "").toLowerCase();
    const architecture = architectures.get(key);
    if (architecture) return architecture;
  }
  throw new UnsupportedError(
    `Cannot convert ${name}: its model_type is ${shown(type)}, known are ${
      [...architectures.keys()].join(", ")
    }`,
  );
}

function readActivation(
  json: JsonObject,
  name: string,
  architecture: Config["architecture"],
): { activation: Activation; note?: string } {
  const act = json.hidden_act ?? (architecture === "bamboo" ? "relu" : "silu");
  if (architecture === "bamboo") {
    if (act === "relu") return { activation: "drelu" };
  } else if (act === "silu") {
    return { activation: "swiglu" };
  } else if (act === "relu") {
    return { activation: "reglu" };
  } else if (act === "fatrelu") {
    const threshold = Number(json.hidden_act_param ?? 0);
    const note =
      `fatrelu's threshold ${threshold} is not kept: gates between 0 and ${threshold} count, too`;
    return { activation: "reglu", note: threshold > 0 ? note : undefined };
  }
  throw new UnsupportedError(
    `Cannot convert ${name}: its hidden_act is ${shown(act)}, known are ${
      architecture === "bamboo" ? "relu" : "silu, relu and fatrelu"
    }`,
  );
}

/** Attention's window. Qwen2 states whether it uses it, and from which layer on. */
function readWindow(
  json: JsonObject,
  name: string,
  contextSize: number,
  layerCount: number,
): number | undefined {
  const { sliding_window: window, use_sliding_window: isUsed } = json;
  const { max_window_layers: first = 0 } = json;
  const isAbsent = typeof window !== "number" || window >= contextSize ||
    isUsed === false || first as number >= layerCount;
  if (isAbsent) return undefined;
  if (first !== 0) {
    throw new UnsupportedError(
      `Cannot convert ${name}: its max_window_layers is ${
        shown(first)
      } of ${layerCount} layers, known is a window in all layers`,
    );
  }
  return window;
}

function readRope(
  json: JsonObject,
  name: string,
  headSize: number,
): { keys: HyperParameters; factors?: Float32Array } {
  const scaling = json.rope_parameters ?? json.rope_scaling ?? {};
  if (!isObject(scaling)) {
    throw new FormatError(`Cannot read ${name}: rope_scaling is no object`);
  }
  const number = (key: string, fallback?: number) =>
    positive(scaling[key] ?? fallback, name, `rope_scaling.${key}`);
  const ropeBase = positive(
    json.rope_theta ?? scaling.rope_theta ?? 10000,
    name,
    "rope_theta",
  );
  const type = scaling.rope_type ?? scaling.type ?? "default";
  switch (type) {
    case "default":
      return { keys: { ropeBase } };
    case "linear":
      return {
        keys: { ropeBase, ropeScaling: "linear", ropeScale: number("factor") },
      };
    case "llama3": {
      const factors = llama3Factors(ropeBase, headSize, {
        factor: number("factor", 8),
        low: number("low_freq_factor", 1),
        high: number("high_freq_factor", 4),
        context: number("original_max_position_embeddings", 8192),
      });
      return { keys: { ropeBase }, factors };
    }
  }
  throw new UnsupportedError(
    `Cannot convert ${name}: its rope scaling is ${
      shown(type)
    }, known are default, linear and llama3`,
  );
}

/**
 * Llama 3 slows down frequencies that turn fewer than `low` times within the
 * context it was first trained on, leaves those above `high` alone, and blends
 * between.
 */
function llama3Factors(
  base: number,
  headSize: number,
  { factor, low, high, context }: Record<
    "factor" | "low" | "high" | "context",
    number
  >,
): Float32Array {
  return Float32Array.from({ length: headSize / 2 }, (_, i) => {
    const turns = context * base ** (-2 * i / headSize) / (2 * Math.PI);
    if (turns > high) return 1;
    if (turns < low) return factor;
    const share = (turns - low) / (high - low);
    return 1 / ((1 - share) / factor + share);
  });
}

function positive(value: unknown, name: string, key: string): number {
  if (typeof value === "number" && value > 0 && value < 1e30) return value;
  throw new FormatError(
    `Cannot read ${name}: ${key} is ${shown(value)}, needs a number above 0`,
  );
}

/** A value of a file as a message may show it. */
function shown(value: unknown): string {
  return value === undefined ? "missing" : printable(JSON.stringify(value));
}
