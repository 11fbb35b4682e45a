/**
 * Hyper-parameters by GGUF's names: each key has the architecture's name before
 * it. Readers and writers of files share this table.
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import { entry, type MetadataEntry } from "../formats/gguf/gguf_file.ts";
import {
  getBoolean,
  getNumber,
  getNumbers,
  getString,
} from "../formats/gguf/metadata.ts";

/** GGUF's key of each, and how its value is stored; in the order to write them. */
const table = {
  contextSize: ["context_length", entry.whole],
  hiddenSize: ["embedding_length", entry.whole],
  layerCount: ["block_count", entry.whole],
  feedForwardSize: ["feed_forward_length", entry.whole],
  ropeSize: ["rope.dimension_count", entry.whole],
  headCount: ["attention.head_count", entry.whole],
  kvHeadCount: ["attention.head_count_kv", entry.whole],
  rmsEpsilon: ["attention.layer_norm_rms_epsilon", entry.real],
  layerEpsilon: ["attention.layer_norm_epsilon", entry.real],
  ropeBase: ["rope.freq_base", entry.real],
  windowedRopeBase: ["rope.freq_base_swa", entry.real],
  ropeScaling: ["rope.scaling.type", entry.text],
  ropeScale: ["rope.scaling.factor", entry.real],
  // What `rope.scaling.factor` was called once.
  oldRopeScale: ["rope.scale_linear", entry.real],
  ropeMagnitude: ["rope.scaling.attn_factor", entry.real],
  originalContextSize: ["rope.scaling.original_context_length", entry.whole],
  yarnBetaFast: ["rope.scaling.yarn_beta_fast", entry.real],
  yarnBetaSlow: ["rope.scaling.yarn_beta_slow", entry.real],
  yarnLogMultiplier: ["rope.scaling.yarn_log_multiplier", entry.real],
  isRotated: ["rope.scaling.finetuned", entry.flag],
  headSize: ["attention.key_length", entry.whole],
  valueSize: ["attention.value_length", entry.whole],
  slidingWindow: ["attention.sliding_window", entry.whole],
  windowPattern: ["attention.sliding_window_pattern", entry.flags],
  attentionScale: ["attention.scale", entry.real],
  temperatureScale: ["attention.temperature_scale", entry.real],
  scoreCap: ["attn_logit_softcapping", entry.real],
  logitCap: ["final_logit_softcapping", entry.real],
  embeddingScale: ["embedding_scale", entry.real],
  residualScale: ["residual_scale", entry.real],
  logitScale: ["logit_scale", entry.real],
  expertCount: ["expert_count", entry.whole],
  usedExperts: ["expert_used_count", entry.whole],
  expertSize: ["expert_feed_forward_length", entry.whole],
  sharedExpertSize: ["expert_shared_feed_forward_length", entry.whole],
  denseLayers: ["leading_dense_block_count", entry.whole],
  expertScoring: ["expert_gating_func", entry.whole],
  expertScale: ["expert_weights_scale", entry.real],
  activation: ["hidden_activation", entry.text],
} as const;

/** A hyper-parameter, called what `Model` calls it. */
type HyperParameter = keyof typeof table;

/** Those to write. */
export type HyperParameters = {
  readonly [N in HyperParameter]?: Parameters<(typeof table)[N][1]>[0];
};

/** The metadata that say them; what is `undefined` is left out. */
export function hyperParameterMetadata(
  architecture: string,
  values: HyperParameters,
): [string, MetadataEntry][] {
  return (Object.keys(table) as HyperParameter[]).flatMap((name) => {
    const value = values[name];
    if (value === undefined) return [];
    const make = table[name][1] as (value: unknown) => MetadataEntry;
    return [[keyOf(architecture, name), make(value)]];
  });
}

function keyOf(architecture: string, name: HyperParameter): string {
  return `${architecture}.${table[name][0]}`;
}

/** Reads the hyper-parameters of a file. */
export class HyperParameterReader {
  /** Of a file of this architecture. */
  constructor(
    readonly file: { readonly metadata: ReadonlyMap<string, MetadataEntry> },
    readonly architecture: string,
  ) {}

  /** A size; `undefined` as fallback makes it a fault where it is missing. */
  size(name: HyperParameter, fallback?: number): number {
    const value = this.number(name) ?? fallback;
    if (value === undefined) throw this.#error(name, "missing");
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw this.#error(name, `${value}, needs a whole number above 0`);
  }

  /** A positive number. */
  real(name: HyperParameter, fallback: number): number {
    const value = this.number(name) ?? fallback;
    if (value > 0 && value < 1e30) return value;
    throw this.#error(name, `${value}, needs a number above 0`);
  }

  /** A positive number; `undefined` where there is none, or 0, which says nothing. */
  optional(name: HyperParameter): number | undefined {
    const value = this.number(name) ?? 0;
    return value === 0 ? undefined : this.real(name, value);
  }

  /** A whole number from 0 up. */
  count(name: HyperParameter, fallback: number): number {
    const value = this.number(name) ?? fallback;
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#error(name, `${value}, needs a whole number from 0 up`);
  }

  /** A number as the file has it; several are one if they are equal. */
  number(name: HyperParameter): number | undefined {
    const key = this.#key(name);
    if (typeof this.file.metadata.get(key)?.value !== "object") {
      return getNumber(this.file, key);
    }
    const [first, ...others] = getNumbers(this.file, key) ?? [];
    if (first === undefined) throw this.#error(name, "an empty list");
    const other = others.find((value) => !Object.is(value, first));
    if (other === undefined) return first;
    throw new UnsupportedError(
      `Cannot run ${key} that differs from layer to layer, ${first} and ${other}`,
    );
  }

  /** Whether something is said to be; `undefined` where nothing is. */
  flag(name: HyperParameter): boolean | undefined {
    return getBoolean(this.file, this.#key(name));
  }

  /** Which of the layers are meant: all but every `fallback`th, another number's, or those of a list of flags. */
  pattern(
    name: HyperParameter,
    layerCount: number,
    fallback: number,
  ): boolean[] {
    const key = this.#key(name);
    const { value } = this.file.metadata.get(key) ?? {};
    if (typeof value !== "object") {
      const every = this.count(name, fallback);
      return Array.from(
        { length: layerCount },
        (_, layer) => every === 0 || layer % every < every - 1,
      );
    }
    const { values, elementType } = value;
    const flags = Array.from(values, Boolean);
    const areFlags = elementType === "bool" ||
      Array.from(values).every((each) => each === 0 || each === 1);
    if (!areFlags) throw this.#error(name, "a list of other than flags");
    if (flags.length >= layerCount) return flags.slice(0, layerCount);
    throw this.#error(
      name,
      `a list of ${flags.length}, needs one for each of ${layerCount} layers`,
    );
  }

  /** A string as the file has it. */
  text(name: HyperParameter): string | undefined {
    return getString(this.file, this.#key(name));
  }

  #key(name: HyperParameter): string {
    return keyOf(this.architecture, name);
  }

  #error(name: HyperParameter, what: string): FormatError {
    return new FormatError(
      `Cannot read the model: ${this.#key(name)} is ${what}`,
    );
  }
}
