/**
 * Hyper-parameters by GGUF's names: each key has the architecture's name before
 * it. Readers and writers of files share this table.
 */
import { FormatError } from "../errors.ts";
import { entry, type MetadataEntry } from "../formats/gguf/gguf_file.ts";
import { getNumber, getString } from "../formats/gguf/metadata.ts";

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
  ropeBase: ["rope.freq_base", entry.real],
  ropeScaling: ["rope.scaling.type", entry.text],
  ropeScale: ["rope.scaling.factor", entry.real],
  headSize: ["attention.key_length", entry.whole],
  valueSize: ["attention.value_length", entry.whole],
  slidingWindow: ["attention.sliding_window", entry.whole],
  expertCount: ["expert_count", entry.whole],
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

  /** A number as the file has it. */
  number(name: HyperParameter): number | undefined {
    return getNumber(this.file, this.#key(name));
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
