import * as v from "valibot";
import type { ByteSource } from "../bytes/byte_source.ts";
import { fingerprintOf } from "../bytes/fingerprint.ts";
import type { Folder } from "../bytes/folder.ts";
import { FormatError, UsageError } from "../errors.ts";
import { isReadType } from "../formats/ggml/dequantise.ts";
import { bytesOfTensors, type GgmlType } from "../formats/ggml/types.ts";
import { entry, type MetadataEntry } from "../formats/gguf/gguf_file.ts";
import { inParts } from "../formats/gguf/split.ts";
import {
  type GgufParts,
  ggufParts,
  type GgufToWrite,
  headerOf,
  type TensorToWrite,
  writeGguf,
} from "../formats/gguf/write.ts";
import { activationOption } from "../model/activation.ts";
import { withActivation } from "./activation.ts";
import { describeModel } from "../model/model.ts";
import {
  checkOptions,
  checkValue,
  type OptionsOf,
  type SchemaOf,
} from "../options.ts";
import { mostWorkers } from "../platform/threads.ts";
import {
  chooseType,
  type ConvertType,
  convertTypes,
  fileTypes,
  fitting,
  hasBlocks,
  isQuantised,
} from "./choose_types.ts";
import { type Contents, layerCountOf } from "./contents.ts";
import { isPredictor, toForm } from "./form.ts";
import { bundle } from "./neuron_bundle.ts";
import { readGgufContents } from "./gguf.ts";
import { readHuggingFace } from "./huggingface.ts";
import { withPredictors, withTensors } from "./predictors.ts";
import { inlineQuantiser, type Quantiser, quantiserOf } from "./quantiser.ts";
import { allRows, retyped, type Rows } from "./rows.ts";

/** What is wanted of a conversion. */
export const convertOptions = {
  /** Type of the matrices, or a mixture of types as llama.cpp chooses them; norms are F32. Default: each tensor's own. */
  type: {
    enum: convertTypes as typeof convertTypes,
    defaultText: "each tensor's own",
    description: "type of the matrices, as llama.cpp chooses it for each",
  },
  /** The activation that the model was made with; the file says it. Default: what the source implies. */
  activation: {
    ...activationOption,
    description:
      "the activation that the model was made with, where its file says another or none",
  },
  /** Default: the source's; PowerInfer's where there are predictors. */
  form: {
    enum: ["llama", "powerinfer"],
    defaultText: "the source's",
    flag: "--form <form>",
    description: "llama (dense, for llama.cpp) or powerinfer (ffn_down_t)",
  },
  /** Writes gate, up and down of each neuron side by side, in one tensor a layer: a neuron that a memory budget does not hold is then one read. culm alone reads such files. */
  bundle: {
    type: "boolean",
    default: false,
    flag: "--bundle",
    description:
      "put gate, up and down of each neuron side by side, for --memory-budget; the form is powerinfer, and culm alone reads it",
  },
  /** PowerInfer's `model_{i}.pt`, one for each layer; or `fc1` and `fc2` of each, as a trained predictor has them. */
  predictors: {
    schema: v.custom(
      (value) => isFolder(value) || Array.isArray(value),
      "a folder, as openFolder gives it, or a list of tensors",
    ) as SchemaOf<Folder | readonly TensorToWrite[]>,
    description:
      "PowerInfer's predictors, model_0.pt and so on; the form is powerinfer",
  },
  /** Stores weights that are in blocks already in blocks of another type. */
  allowRequantise: {
    type: "boolean",
    default: false,
    flag: "--allow-requantize",
    description:
      "quantise what is quantised already, which loses more than the original would",
  },
  /** Workers that store weights as other types; 0: the caller's thread. Default: one for each core. */
  threads: {
    type: "integer",
    minimum: 0,
    maximum: mostWorkers,
    defaultText: "one for each core",
    flag: "-t, --threads <n>",
    description: "threads; 0 = compute in the main thread",
  },
} as const;

/** What is wanted of a conversion. Everything may be left out. */
export type ConvertOptions = OptionsOf<typeof convertOptions>;

const convertible: v.GenericSchema<Folder | ByteSource> = v.custom(
  (value) =>
    isFolder(value) ||
    typeof (value as ByteSource | null)?.read === "function",
  "a folder, as openFolder gives it, or a ByteSource",
);

function isFolder(value: unknown): boolean {
  return (value as Folder | null)?.files instanceof Set;
}

/** A file that is made while it is read. */
export interface Conversion extends GgufParts {
  /** Bytes of all tensors; header and padding come on top */
  readonly tensorBytes: number;
  /** What the file cannot say, one sentence each */
  readonly notes: readonly string[];
  /**
   * The file in parts, as gguf-split makes them: tensors of up to `mostBytes` in
   * each, headers not counted. What fits one file stays one.
   *
   * @throws {UsageError} where one tensor takes more
   */
  split(mostBytes: number): readonly GgufParts[];
  /** The file, first byte to last: the header, then the tensors. */
  chunks(): AsyncGenerator<Uint8Array>;
  /**
   * SHA-256, in hexadecimal, by which unfinished work knows its own: of the
   * header, and of samples of the files that are read; predictors that are
   * given as tensors are not among these.
   */
  fingerprint(): Promise<string>;
  /** Lets go of the files of the folder, and of workers. A source that was given stays open. */
  close(): Promise<void>;
}

/** The quantised types have been laid out anew since their first version. */
const quantisationVersion = 2;

/**
 * Converts a Hugging Face folder, or a GGUF or PowerInfer file, to another form
 * or type. Everything streams.
 *
 * @throws {UsageError} for wrong options, where a file is missing, or the model cannot have the form
 * @throws {UnsupportedError} for models, types and tokenizers that culm does not know
 * @throws {FormatError} where a file is damaged, or files contradict one another;
 * also while the chunks are read, where a weight is not finite
 * @throws {PlaceError} while the chunks are read, where a worker fails
 *
 * @example
 * ```ts ignore
 * const folder = await openFolder("Bamboo-base-v0_1");
 * const file = await convert(folder, { type: "Q4_0", form: "powerinfer" });
 * for await (const chunk of file.chunks()) await out.write(chunk);
 * await file.close();
 * ```
 */
export async function convert(
  source: Folder | ByteSource,
  options: ConvertOptions = {},
): Promise<Conversion> {
  checkValue("source", { schema: convertible }, source ?? null);
  checkOptions("convert", convertOptions, options);
  const quantiser = quantiserOf(options.threads);
  const { contents, tensors } = await prepare(source, options, quantiser);
  const file = fileOf(contents, tensors, options.type, quantiser.chunksAhead);
  const close = async () => {
    await quantiser.close();
    await contents.close();
  };
  try {
    // Refuses what culm could not run, before hours of work; unknown architectures are let through.
    if (contents.activation) {
      describeModel((await headerOf(file, contents.name)).file);
    }
    const parts = ggufParts(file);
    return {
      ...parts,
      tensorBytes: bytesOfTensors(tensors.values()),
      notes: contents.notes,
      split: (mostBytes) => inParts(file, mostBytes).map(ggufParts),
      chunks: () => writeGguf(file),
      fingerprint: () => fingerprintOf(parts.header, contents.sources),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Contents in the form that is wanted, and their tensors in the types. */
export async function prepare(
  source: Folder | ByteSource,
  { type, activation, form, bundle: isBundled, predictors, allowRequantise }:
    ConvertOptions,
  quantiser: Quantiser = inlineQuantiser,
): Promise<{ contents: Contents; tensors: Map<string, Rows> }> {
  let contents =
    await ("files" in source
      ? readHuggingFace(source)
      : readGgufContents(source));
  try {
    if (activation) contents = withActivation(contents, activation);
    // A folder's own predictors have no place in a dense file.
    const predicts = [...contents.tensors.keys()].some(isPredictor);
    const wanted = form ??
      (predictors || predicts || isBundled ? "powerinfer" : contents.form);
    if (isBundled && wanted === "llama") {
      throw new UsageError(
        "Cannot bundle neurons in a file of form llama: only powerinfer has a row of down for each",
      );
    }
    if (predictors && wanted === "llama") {
      throw new UsageError(
        "Cannot put predictors into a file of form llama: only powerinfer has them",
      );
    }
    if (predictors) {
      contents = "files" in predictors
        ? await withPredictors(contents, predictors)
        : withTensors(contents, predictors);
    }
    const types = typesOf(contents);
    if (predictors || predicts || wanted !== contents.form) {
      contents = toForm(contents, wanted);
    }
    const tensors = typed(contents, type, types, quantiser);
    const twice = quantisedTwice(contents, types, tensors);
    // Without a type, only what another form turns is quantised twice.
    if (twice && type && !allowRequantise) {
      throw new UsageError(
        `Cannot convert ${contents.name}: ${twice}; convert that, or allow it (--allow-requantize)`,
      );
    }
    if (twice) contents = { ...contents, notes: [...contents.notes, twice] };
    return {
      contents,
      tensors: isBundled ? bundle(tensors, contents.name) : tensors,
    };
  } catch (error) {
    await contents.close();
    throw error;
  }
}

/** The tensors as `wanted`, or else as each was before its form was changed: `own`, by {@linkcode typesOf}. */
function typed(
  contents: Contents,
  wanted: ConvertType | undefined,
  own: ReadonlyMap<string, GgmlType>,
  quantiser: Quantiser,
): Map<string, Rows> {
  const context = {
    layerCount: layerCountOf(contents),
    hasOutput: contents.tensors.has("output.weight"),
  };
  const typeOf = (name: string, { type, shape }: Rows) => {
    // A shared expert is of the type of those beside it, whose rows of down are shorter.
    const beside = contents.tensors.get(name.replace("_shexp.", "_exps."));
    const like = { name, type, shape: beside?.shape ?? shape };
    if (wanted) return chooseType(like, wanted, context);
    const before = own.get(withDown(name));
    const to = before ? fitting(before, shape[0]) : type;
    if (to === type || !isReadType(to)) return to;
    throw new UsageError(
      `Cannot convert ${contents.name}: ${name} is turned, and ${to} is a type that culm reads and does not write; give one that it writes (--type)`,
    );
  };
  return new Map(
    contents.tensors.entries().map(([name, rows]) => [
      name,
      retyped(rows, typeOf(name, rows), quantiser),
    ]),
  );
}

/**
 * What is to be said where weights in blocks go into other blocks: of another
 * type than their `own`, by {@linkcode typesOf}, or along the other side of
 * their matrix. Undefined where none do.
 */
function quantisedTwice(
  { tensors }: Contents,
  own: ReadonlyMap<string, GgmlType>,
  converted: ReadonlyMap<string, Rows>,
): string | undefined {
  const changes = [...tensors].flatMap(([name, { type }]) => {
    const from = own.get(withDown(name)) ?? type;
    const to = converted.get(name)!.type;
    // What was turned is F32 by now.
    const isTwice = type !== to && hasBlocks(from) && hasBlocks(to);
    return isTwice ? [from === to ? `${to}, turned` : `${from} to ${to}`] : [];
  });
  return changes.length === 0
    ? undefined
    : `quantising ${changes.length} tensors twice (${
      [...new Set(changes)].join(", ")
    }) loses more than quantising the original`;
}

/** The types of tensors; `ffn_down_t` has the one that `ffn_down` had. */
function typesOf({ tensors }: Contents): Map<string, GgmlType> {
  return new Map(
    tensors.entries().map(([name, { type }]) => [withDown(name), type]),
  );
}

/** A tensor's name in form `llama`. */
function withDown(name: string): string {
  return name.replace(/\.ffn_down_t(_exps)?\./, ".ffn_down$1.");
}

/** What is written, each tensor being read so many chunks ahead. */
export function fileOf(
  contents: Contents,
  tensors: ReadonlyMap<string, Rows>,
  type: ConvertType | undefined,
  chunksAhead = 1,
): GgufToWrite {
  return {
    magic: contents.magic ?? (contents.form === "llama" ? "GGUF" : "PWRI"),
    metadata: type ? withTypes(contents.metadata, type) : contents.metadata,
    tensors: Array.from(tensors, ([name, rows]) => ({
      name,
      type: rows.type,
      shape: rows.shape,
      data: () => explained(allRows(rows, chunksAhead), name, contents),
    })),
  };
}

function withTypes(
  metadata: Contents["metadata"],
  type: ConvertType,
): Map<string, MetadataEntry> {
  const typed = new Map(metadata);
  typed.set("general.file_type", entry.whole(fileTypes[type]));
  const version = "general.quantization_version";
  if (isQuantised(type)) typed.set(version, entry.whole(quantisationVersion));
  else typed.delete(version);
  return typed;
}

/** Says which tensor a weight that cannot be stored is in. */
async function* explained(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  contents: Contents,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new FormatError(
      `Cannot convert tensor ${name} of ${contents.name}: ${error.message}`,
      { cause: error },
    );
  }
}
