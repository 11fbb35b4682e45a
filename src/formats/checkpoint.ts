import type { ByteSource } from "../bytes/byte_source.ts";
import type { Folder } from "../bytes/folder.ts";
import { FormatError, UsageError } from "../errors.ts";
import { printable } from "./gguf/header_cursor.ts";
import { isObject, readObject } from "./json.ts";
import {
  damagedTensor,
  readSafetensors,
  type SafetensorsDtype,
  type SafetensorsTensor,
} from "./safetensors/read.ts";
import {
  readTorch,
  tensorsOf,
  type TorchDtype,
  type TorchTensor,
} from "./torch/read.ts";

/** A tensor and the file that it lies in. */
export interface CheckpointTensor extends SafetensorsTensor {
  /** What its bytes are read from. */
  readonly source: ByteSource;
}

/** All tensors of a folder: of one file, or of several with an index. */
export interface Checkpoint {
  /** Tensors by name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** The files, in order. */
  readonly sources: readonly ByteSource[];
  /** Lets go of the files. */
  close(): Promise<void>;
}

/** How the weights of a folder are stored. */
interface CheckpointForm {
  /** All in one file */
  readonly single: string;
  /** One of several, the number of which is in its name; `number` of `total` is called so */
  readonly shard: RegExp;
  shardOf(number: string, total: string): string;
  read(source: ByteSource): Promise<readonly CheckpointTensor[]>;
}

/** As `save_pretrained` writes them now, and as it once did. */
const forms: readonly CheckpointForm[] = [
  {
    single: "model.safetensors",
    shard: /^model-\d+-of-(\d+)\.safetensors$/,
    shardOf: (number, total) => `model-${number}-of-${total}.safetensors`,
    read: async (source) =>
      Array.from(
        (await readSafetensors(source)).values(),
        (tensor) => ({ ...tensor, source }),
      ),
  },
  {
    single: "pytorch_model.bin",
    shard: /^pytorch_model-\d+-of-(\d+)\.bin$/,
    shardOf: (number, total) => `pytorch_model-${number}-of-${total}.bin`,
    read: torchTensors,
  },
];

function indexOf({ single }: CheckpointForm): string {
  return `${single}.index.json`;
}

/** The form of a folder's weights: safetensors where it has none of either. */
function formOf({ files }: Folder): CheckpointForm {
  const isThere = (form: CheckpointForm) =>
    files.has(form.single) || files.has(indexOf(form)) ||
    [...files].some((file) => form.shard.test(file));
  return forms.find(isThere) ?? forms[0];
}

/**
 * Opens the weights of a folder, safetensors or else PyTorch's files, and reads
 * their headers.
 *
 * @throws {UsageError} where the folder has none
 * @throws {FormatError} where a file is damaged or missing, or files and index contradict one another
 */
export async function openCheckpoint(folder: Folder): Promise<Checkpoint> {
  const form = formOf(folder), indexFile = indexOf(form);
  const index = await readIndex(folder, indexFile);
  const names = index ? [...new Set(index.values())] : filesOf(folder, form);
  const sources: ByteSource[] = [];
  const close = async () => {
    for (const source of sources) await source.close();
  };
  try {
    const tensors = new Map<string, CheckpointTensor>();
    for (const file of names) {
      const source = await folder.open(file);
      sources.push(source);
      for (const tensor of await form.read(source)) {
        const there = tensors.get(tensor.name);
        if (there) {
          throw damagedTensor(
            source,
            tensor.name,
            `${there.source.name} has one of this name too`,
          );
        }
        tensors.set(tensor.name, tensor);
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
  indexFile: string,
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
function filesOf(
  folder: Folder,
  { single, shard, shardOf }: CheckpointForm,
): string[] {
  if (folder.files.has(single)) return [single];
  const first = [...folder.files].sort().find((file) => shard.test(file));
  if (first === undefined) {
    throw new UsageError(
      `Cannot find weights in ${folder.name}: it has no ${single}, ${single}.index.json or ${
        shardOf("00001", "…")
      }, and no pytorch_model.bin`,
    );
  }
  const total = first.match(shard)![1];
  // One shard more than there are files is missing for certain.
  const count = Math.min(Number(total), folder.files.size + 1);
  return Array.from({ length: count }, (_, i) => {
    const number = String(i + 1).padStart(total.length, "0");
    const file = shardOf(number, total);
    if (!folder.files.has(file)) {
      throw new FormatError(`Cannot read ${folder.name}: ${file} is missing`);
    }
    return file;
  });
}

const dtypes: Readonly<Record<TorchDtype, SafetensorsDtype>> = {
  float16: "F16",
  bfloat16: "BF16",
  float32: "F32",
  float64: "F64",
  int8: "I8",
  int16: "I16",
  int32: "I32",
  int64: "I64",
  uint8: "U8",
  bool: "BOOL",
};

/** The tensors of a file of PyTorch's. The bytes of one at a time are kept, as they are read piece by piece. */
async function torchTensors(source: ByteSource): Promise<CheckpointTensor[]> {
  let kept: { tensor: TorchTensor; bytes: Promise<Uint8Array> } | undefined;
  const bytesOf = (tensor: TorchTensor) => {
    if (kept?.tensor !== tensor) kept = { tensor, bytes: tensor.bytes() };
    return kept.bytes;
  };
  const tensors = tensorsOf(await readTorch(source));
  return Array.from(tensors, ([name, tensor]) => {
    const dtype = dtypes[tensor.dtype];
    const byteLength = tensor.length * tensor.elementBytes;
    return {
      name,
      dtype,
      shape: tensor.shape,
      offset: 0,
      byteLength,
      source: {
        name: source.name,
        size: byteLength,
        read: async (offset, length) =>
          (await bytesOf(tensor)).slice(offset, offset + length),
        close: () => Promise.resolve(),
      },
    };
  });
}
