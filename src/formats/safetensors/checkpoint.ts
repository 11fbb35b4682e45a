import type { ByteSource } from "../../bytes/byte_source.ts";
import type { Folder } from "../../bytes/folder.ts";
import { FormatError, UsageError } from "../../errors.ts";
import { printable } from "../gguf/header_cursor.ts";
import { isObject, readObject } from "../json.ts";
import {
  damagedTensor,
  readSafetensors,
  type SafetensorsTensor,
} from "./read.ts";

/** A tensor and the file that it lies in. */
export interface CheckpointTensor extends SafetensorsTensor {
  /** What its bytes are read from. */
  readonly source: ByteSource;
}

/** All tensors of a folder: of one safetensors file, or of several with an index. */
export interface Checkpoint {
  /** Tensors by name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** The files, in order. */
  readonly sources: readonly ByteSource[];
  /** Lets go of the files. */
  close(): Promise<void>;
}

const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/**
 * Opens the weights of a folder and reads their headers.
 *
 * @throws {UsageError} where the folder has none
 * @throws {FormatError} where a file is damaged or missing, or files and index contradict one another
 */
export async function openCheckpoint(folder: Folder): Promise<Checkpoint> {
  const index = await readIndex(folder);
  const names = index ? [...new Set(index.values())] : filesOf(folder);
  const sources: ByteSource[] = [];
  const close = async () => {
    for (const source of sources) await source.close();
  };
  try {
    const tensors = new Map<string, CheckpointTensor>();
    for (const file of names) {
      const source = await folder.open(file);
      sources.push(source);
      for (const tensor of (await readSafetensors(source)).values()) {
        const there = tensors.get(tensor.name);
        if (there) {
          throw damagedTensor(
            source,
            tensor.name,
            `${there.source.name} has one of this name too`,
          );
        }
        tensors.set(tensor.name, { ...tensor, source });
      }
    }
    for (const [name, file] of index ?? []) {
      if (!tensors.has(name)) {
        throw damagedTensor(
          folder,
          name,
          `${indexFile} says that it is in ${file}, which has none`,
        );
      }
    }
    return { tensors, sources, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Which file each tensor is in; `undefined` where there is no index. */
async function readIndex(
  folder: Folder,
): Promise<Map<string, string> | undefined> {
  const index = await readObject(folder, indexFile);
  if (!index) return undefined;
  const name = `${folder.name}/${indexFile}`;
  const { weight_map: map } = index;
  if (!isObject(map)) {
    throw new FormatError(`Cannot read ${name}: it has no weight_map`);
  }
  const files = new Map<string, string>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== "string" || !folder.files.has(file)) {
      throw new FormatError(
        `Cannot read ${name}: tensor ${printable(tensor)} is in ${
          printable(String(file))
        }, which ${folder.name} does not have`,
      );
    }
    files.set(tensor, file);
  }
  return files;
}

/** The files of a folder without an index: one, or `model-00001-of-00003` and so on. */
function filesOf(folder: Folder): string[] {
  if (folder.files.has(singleFile)) return [singleFile];
  const shard = /^model-\d+-of-(\d+)\.safetensors$/;
  const first = [...folder.files].sort().find((file) => shard.test(file));
  if (first === undefined) {
    throw new UsageError(
      `Cannot find weights in ${folder.name}: it has no ${singleFile}, ${indexFile} or model-00001-of-….safetensors`,
    );
  }
  const total = first.match(shard)![1];
  // One shard more than there are files is missing for certain.
  const count = Math.min(Number(total), folder.files.size + 1);
  return Array.from({ length: count }, (_, i) => {
    const number = String(i + 1).padStart(total.length, "0");
    const file = `model-${number}-of-${total}.safetensors`;
    if (!folder.files.has(file)) {
      throw new FormatError(`Cannot read ${folder.name}: ${file} is missing`);
    }
    return file;
  });
}
