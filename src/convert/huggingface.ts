import type { Folder } from "../bytes/folder.ts";
import { FormatError, UnsupportedError, UsageError } from "../errors.ts";
import type { GgmlType } from "../formats/ggml/types.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { readObject } from "../formats/json.ts";
import {
  type Checkpoint,
  type CheckpointTensor,
  openCheckpoint,
} from "../formats/safetensors/checkpoint.ts";
import type { SafetensorsDtype } from "../formats/safetensors/read.ts";
import { architectures } from "../model/architectures.ts";
import {
  compareTensors,
  ggufName,
  type NamedTensor,
  type TensorName,
  tensorSchemas,
} from "../model/schema.ts";
import { type Config, readConfig } from "./config.ts";
import type { Contents } from "./contents.ts";
import { interleaved, rowCount, type Rows, stored, whole } from "./rows.ts";
import { tensorOfHub } from "./tensor_names.ts";
import { tokenizerMetadata } from "./tokenizer_metadata.ts";

const types: Readonly<Partial<Record<SafetensorsDtype, GgmlType>>> = {
  F32: "F32",
  F16: "F16",
  BF16: "BF16",
};

/**
 * Reads what a Hugging Face folder holds (config.json, safetensors and a
 * tokenizer); its weights stay unread.
 *
 * @throws {UsageError} where a file is missing
 * @throws {UnsupportedError} for models, types and tokenizers that culm does not know
 * @throws {FormatError} where a file is damaged, or files contradict one another
 */
export async function readHuggingFace(folder: Folder): Promise<Contents> {
  const json = await readObject(folder, "config.json");
  if (!json) {
    throw new UsageError(
      `Cannot read ${folder.name}: it is a directory without config.json, which a Hugging Face folder has`,
    );
  }
  const config = readConfig(json, `${folder.name}/config.json`);
  const checkpoint = await openCheckpoint(folder);
  try {
    const tensors = tensorsOf(checkpoint, config, folder);
    const embedding = tensors.get("token_embd.weight");
    const vocabSize = embedding ? rowCount(embedding) : config.vocabSize;
    const metadata = new Map([
      ["general.architecture", entry.text(config.architecture)],
      ["general.name", entry.text(lastPart(folder.name))],
      ...config.metadata,
      ...await tokenizerMetadata(folder, json, vocabSize),
    ]);
    return {
      name: folder.name,
      form: "llama",
      activation: config.activation,
      metadata,
      tensors,
      sources: checkpoint.sources,
      notes: config.notes,
      close: () => checkpoint.close(),
    };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

function tensorsOf(
  { tensors }: Checkpoint,
  config: Config,
  folder: Folder,
): Map<string, Rows> {
  const found: [NamedTensor, Rows][] = [];
  for (const tensor of tensors.values()) {
    const named = tensorOfHub(tensor.name);
    if (named === undefined) {
      throw new UnsupportedError(
        `Cannot convert tensor ${
          printable(tensor.name)
        } of ${folder.name}: a model of this kind has none of this name`,
      );
    }
    if (named === null || named.name === "output" && config.isTied) continue;
    found.push([named, rowsOf(tensor, named.name, config)]);
  }
  const { ropeFactors } = config;
  if (ropeFactors) {
    const bytes = new Uint8Array(ropeFactors.buffer);
    const fetch = () => Promise.resolve(bytes);
    const rows = whole("F32", [ropeFactors.length], fetch);
    found.push([{ name: "rope_freqs" }, rows]);
  }
  return new Map(
    found.sort(([a], [b]) => compareTensors(a, b))
      .map(([{ name, layer }, rows]) => [ggufName(name, layer), rows]),
  );
}

function rowsOf(
  { name, dtype, shape, offset, source }: CheckpointTensor,
  own: TensorName,
  config: Config,
): Rows {
  const type = types[dtype];
  if (!type) {
    throw new UnsupportedError(
      `Cannot convert tensor ${name} of ${source.name}: its type is ${dtype}, known are ${
        Object.keys(types).join(", ")
      }`,
    );
  }
  if (shape.length < 1 || shape.length > 2 || shape.includes(0)) {
    throw new FormatError(
      `Cannot convert tensor ${name} of ${source.name}: its shape is [${
        shape.join(", ")
      }], needs 1 or 2 sizes above 0`,
    );
  }
  const { rotated, shape: sides } = tensorSchemas[own];
  const { rope } = architectures.get(config.architecture)!;
  // GGUF's half rotation is Hugging Face's.
  if (!rotated || rope === "half") {
    return stored(source, offset, type, shape.toReversed());
  }
  // A vector's elements are moved as the rows of its matrix are.
  const [count, columns = 1] = shape;
  const rows = stored(source, offset, type, [columns, count]);
  const { headCount, kvHeadCount, headSize } = config;
  const heads = sides.includes("q") ? headCount : kvHeadCount;
  if (count !== heads * headSize) {
    throw new FormatError(
      `Cannot convert tensor ${name} of ${source.name}: it has ${count} rows, ${heads} heads of ${headSize} take ${
        heads * headSize
      }`,
    );
  }
  const moved = interleaved(rows, heads);
  return shape.length > 1
    ? moved
    : { type, shape: [count], read: () => moved.read(0, count) };
}

/** The last part of a path, without slashes at its end. */
function lastPart(path: string): string {
  return path.match(/([^/\\]+)[/\\]*$/)?.[1] ?? path;
}
