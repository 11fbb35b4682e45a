import type { Folder } from "../bytes/folder.ts";
import { FormatError, UnsupportedError, UsageError } from "../errors.ts";
import type { GgmlType } from "../formats/ggml/types.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject, readObject } from "../formats/json.ts";
import {
  type Checkpoint,
  type CheckpointTensor,
  openCheckpoint,
} from "../formats/checkpoint.ts";
import type { SafetensorsDtype } from "../formats/safetensors/read.ts";
import { chosenActivation } from "../model/activation.ts";
import { architectures } from "../model/architectures.ts";
import {
  compareTensors,
  ggufName,
  type NamedTensor,
  tensorSchemas,
} from "../model/schema.ts";
import { type Config, readConfig } from "./config.ts";
import type { Contents } from "./contents.ts";
import {
  interleaved,
  rowCount,
  type Rows,
  shifted,
  stacked,
  stored,
  ternary,
  whole,
} from "./rows.ts";
import { type HubTensor, tensorOfHub } from "./tensor_names.ts";
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
    const [gguf] = [...folder.files].filter((file) => file.endsWith(".gguf"))
      .sort();
    throw new UsageError(
      `Cannot read ${folder.name}: it is a directory without config.json, which a Hugging Face folder has${
        gguf === undefined
          ? ""
          : `; name a file of it, such as ${printable(gguf)}`
      }`,
    );
  }
  const config = readConfig(textConfig(json), `${folder.name}/config.json`);
  const checkpoint = await openCheckpoint(folder);
  try {
    const tensors = tensorsOf(checkpoint, config, folder);
    const embedding = tensors.get("token_embd.weight");
    const vocabSize = embedding ? rowCount(embedding) : config.vocabSize;
    const tokenizer = await tokenizerMetadata(folder, json, vocabSize);
    const metadata = new Map([
      ["general.architecture", entry.text(config.architecture)],
      ["general.name", entry.text(lastPart(folder.name))],
      ...config.metadata,
      ...tokenizer.metadata,
    ]);
    return {
      name: folder.name,
      form: "llama",
      activation: chosenActivation(config.activation).activation,
      metadata,
      tensors,
      sources: checkpoint.sources,
      notes: [
        ...config.notes,
        ...tokenizer.notes,
        checkpoint.tensors.keys().some((name) => vision.test(name))
          ? "what sees pictures is left out"
          : [],
      ].flat(),
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
  const found: [HubTensor, Rows][] = [];
  const architecture = architectures.get(config.architecture)!;
  for (const tensor of tensors.values()) {
    if (vision.test(tensor.name)) continue;
    const named = tensorOfHub(
      tensor.name.replace(textPart, "$1"),
      architecture,
    );
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
  for (const [name, factors] of config.ropeFactors) {
    const bytes = new Uint8Array(factors.buffer);
    const fetch = () => Promise.resolve(bytes);
    found.push([{ name }, whole("F32", [factors.length], fetch)]);
  }
  const { expertCount } = config;
  return new Map(
    withExpertsStacked(found, config, folder)
      .sort(([a], [b]) => compareTensors(placeOf(a), placeOf(b)))
      .map(([tensor, rows]) => [nameOf(tensor, expertCount), rows]),
  );
}

/** GGUF's name of a tensor. */
function nameOf(
  { name, layer, isShared }: HubTensor,
  expertCount?: number,
): string {
  if (name === "attn_qkv") return `blk.${layer}.attn_qkv.weight`;
  if (isShared) return `blk.${layer}.${name}_shexp.weight`;
  return ggufName(name, layer, expertCount !== undefined);
}

/** What there is for each expert as one tensor. */
function withExpertsStacked(
  found: readonly [HubTensor, Rows][],
  { expertCount = 0 }: Config,
  folder: Folder,
): [HubTensor, Rows][] {
  const groups = Map.groupBy(
    found,
    ([{ name, layer, isShared }]) => `${layer}.${name}.${isShared}`,
  );
  return Array.from(groups.values(), (group) => {
    const [[{ name, layer, expert }, rows]] = group;
    if (expert === undefined) return group[0];
    const parts = group
      .toSorted(([a], [b]) => a.expert! - b.expert!)
      .map(([, rows]) => rows);
    const alike = parts.every(({ type, shape }) =>
      type === rows.type && `${shape}` === `${rows.shape}`
    );
    if (parts.length !== expertCount || !alike) {
      throw new FormatError(
        `Cannot convert ${folder.name}: ${
          alike ? `${parts.length} experts have` : "experts differ in"
        } ${name} in layer ${layer}, config.json says that there are ${expertCount}`,
      );
    }
    return [{ name, layer }, stacked(parts)];
  });
}

/** Where a tensor stands in a file. */
function placeOf({ name, layer }: HubTensor): NamedTensor {
  return { name: name === "attn_qkv" ? "attn_q" : name, layer };
}

/** What models of several kinds of input call the part that reads text, and begin the names of the others with. */
const textPart = /^(?:language_model\.|(model\.)language_model\.)/;
const vision = /^(?:model\.)?(?:vision_tower|multi_modal_projector)\./;

/** A config with what it says of the part that reads text. */
function textConfig(json: JsonObject): JsonObject {
  return isObject(json.text_config) ? { ...json, ...json.text_config } : json;
}

function rowsOf(
  { name, dtype, shape, offset, source }: CheckpointTensor,
  own: HubTensor["name"],
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
  const { rope, hub } = architectures.get(config.architecture)!;
  // GGUF's half rotation is Hugging Face's.
  if (
    own === "attn_qkv" || rope === "half" || !tensorSchemas[own].rotated
  ) {
    const rows = stored(source, offset, type, shape.toReversed());
    if (hub?.normOffset && /norm\.weight$/.test(name)) {
      return shifted(rows, hub.normOffset);
    }
    return hub?.isTernary && /_proj\.weight$/.test(name) ? ternary(rows) : rows;
  }
  const { shape: sides } = tensorSchemas[own];
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
