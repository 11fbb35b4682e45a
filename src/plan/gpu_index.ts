/**
 * Which neurons are on the GPU, as PowerInfer keeps it beside a model in
 * `MODEL.generated.gpuidx`: a file of magic `PWRI` and architecture
 * `generic.gpu_index`, with two I32 tensors a layer, in the order of layers:
 * `blk.N.gpu_idx` `[feedForwardSize]`, 1 where the neuron is on the GPU, and
 * `blk.N.gpu_bucket`, the ids of those, ascending; of length 0 where there are
 * none.
 *
 * Types are numbered as in PowerInfer's ggml, where 18 is I32; llama.cpp gave
 * that number to another type later. So is a length of 0 its own, and files are
 * read and written here rather than by the reader of models.
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { LimitError, UsageError } from "../errors.ts";
import {
  alignUp,
  DEFAULT_ALIGNMENT,
  entry,
  isAlignment,
  type MetadataEntry,
} from "../formats/gguf/gguf_file.ts";
import { HeaderCursor, printable } from "../formats/gguf/header_cursor.ts";
import { HeaderWriter } from "../formats/gguf/header_writer.ts";
import { getNumber, getString } from "../formats/gguf/metadata.ts";
import {
  FEWEST_ENTRY_BYTES,
  readMetadata,
} from "../formats/gguf/read_metadata.ts";
import { FEWEST_TENSOR_BYTES } from "../formats/gguf/read_tensors.ts";
import type { Model } from "../model/model.ts";
import { checkNeurons } from "./profile.ts";

/** Which neurons of each layer are on the GPU. */
export interface GpuIndex {
  /** Bytes of GPU memory that the split was made for */
  readonly capacity: number;
  /** Neurons of a layer */
  readonly feedForwardSize: number;
  /** Ids of those on the GPU, ascending; first layer to last */
  readonly layers: readonly Uint32Array[];
}

const architecture = "generic.gpu_index";
const keys = {
  architecture: "general.architecture",
  alignment: "general.alignment",
  blockCount: `${architecture}.block_count`,
  capacity: "split.vram_capacity",
};
const names = {
  mask: (layer: number) => `blk.${layer}.gpu_idx`,
  bucket: (layer: number) => `blk.${layer}.gpu_bucket`,
};

/** I32 in PowerInfer's ggml, and in today's. */
const int32 = { powerInfer: 18, today: 26 };

/** The largest file that is read: 256 layers of 131,072 neurons. */
const largestFile = 2 ** 28;

/**
 * The bytes of an index, as PowerInfer's `export_split.py` lays them out.
 *
 * @throws {UsageError} where ids are not ascending, or beyond the layer
 */
export function writeGpuIndex(index: GpuIndex): Uint8Array<ArrayBuffer> {
  const { capacity, feedForwardSize, layers } = index;
  const writer = new HeaderWriter();
  const pad = (length: number) =>
    writer.bytes(new Uint8Array(alignUp(length, DEFAULT_ALIGNMENT) - length));
  const tensors = layers.flatMap((neurons, layer) => {
    const wrong = neurons.find((id, i) =>
      id >= feedForwardSize || (i > 0 && id <= neurons[i - 1])
    );
    if (wrong !== undefined) {
      throw new UsageError(
        `Cannot write a GPU index: neuron ${wrong} of layer ${layer} is not ascending, or not below ${feedForwardSize}`,
      );
    }
    const mask = new Int32Array(feedForwardSize);
    for (const id of neurons) mask[id] = 1;
    return [
      { name: names.mask(layer), values: mask },
      { name: names.bucket(layer), values: Int32Array.from(neurons) },
    ];
  });
  writer.bytes(new TextEncoder().encode("PWRI"));
  writer.uint32(3);
  writer.uint64(tensors.length);
  writer.uint64(3);
  writer.entry(keys.architecture, entry.text(architecture));
  writer.entry(keys.blockCount, entry.whole(layers.length));
  writer.entry(keys.capacity, { type: "uint64", value: capacity });
  let offset = 0;
  for (const { name, values } of tensors) {
    writer.string(name);
    writer.uint32(1);
    writer.uint64(values.length);
    writer.uint32(int32.powerInfer);
    writer.uint64(offset);
    offset = alignUp(offset + values.byteLength, DEFAULT_ALIGNMENT);
  }
  pad(writer.finish().length);
  for (const { values } of tensors) {
    writer.bytes(new Uint8Array(values.buffer));
    pad(values.byteLength);
  }
  return writer.finish();
}

/**
 * Reads an index. Files without buckets are read too, for a bucket says what
 * the mask says.
 *
 * @throws {FormatError} where it is cut, damaged, or no index, or mask and bucket contradict one another
 * @throws {LimitError} where it passes 256 MiB
 */
export async function readGpuIndex(source: ByteSource): Promise<GpuIndex> {
  if (source.size > largestFile) {
    throw new LimitError(
      `Cannot read GPU index ${source.name}: it has ${source.size} bytes, the limit is ${largestFile}`,
    );
  }
  const bytes = await source.read(0, source.size);
  const cursor = new HeaderCursor(bytes, source.size, source.name);
  const magic = String.fromCharCode(...bytes.subarray(cursor.skip(4), 4));
  const version = cursor.uint32();
  // Version 1 had counts of 32 bits.
  if (!["PWRI", "GGUF"].includes(magic) || version < 2 || version > 3) {
    throw cursor.error("it is no GPU index of version 2 or 3");
  }
  const tensorCount = cursor.count("tensors", FEWEST_TENSOR_BYTES);
  const entryCount = cursor.count("metadata entries", FEWEST_ENTRY_BYTES);
  const metadata = new Map<string, MetadataEntry>();
  readMetadata(cursor, entryCount, metadata);
  const kind = getString({ metadata }, keys.architecture);
  if (kind !== architecture) {
    cursor.about("GPU index");
    throw cursor.error(
      `${keys.architecture} is "${
        printable(String(kind))
      }", a GPU index has "${architecture}"`,
    );
  }
  const alignment = getNumber({ metadata }, keys.alignment) ??
    DEFAULT_ALIGNMENT;
  const tensors = readTensors(cursor, tensorCount, alignment);
  const layers = readLayers(cursor, tensors);
  const blockCount = getNumber({ metadata }, keys.blockCount);
  if (blockCount !== layers.length || layers.length === 0) {
    throw cursor.error(
      `${keys.blockCount} is ${blockCount}, it has ${layers.length} layers`,
    );
  }
  const capacity = getNumber({ metadata }, keys.capacity) ?? 0;
  const feedForwardSize = tensors.get(names.mask(0))!.length;
  return { capacity, feedForwardSize, layers };
}

/**
 * Checks that an index has a model's shape.
 *
 * @throws {FormatError} where it has not, with both numbers
 */
export function checkGpuIndex(index: GpuIndex, model: Model): void {
  const { layers, feedForwardSize } = index;
  checkNeurons("the GPU index", layers.length, feedForwardSize, model);
}

/** The I32 vectors of a file, by name. */
function readTensors(
  cursor: HeaderCursor,
  count: number,
  alignment: number,
): Map<string, Int32Array> {
  if (!isAlignment(alignment)) {
    throw cursor.error(`${keys.alignment} is ${alignment}, no power of two`);
  }
  const declared = Array.from({ length: count }, (_, i) => {
    cursor.about(`tensor ${i}`);
    const name = cursor.string();
    cursor.about("tensor", name);
    const dimensions = cursor.uint32();
    if (dimensions !== 1) {
      throw cursor.error(`it has ${dimensions} dimensions, needs 1`);
    }
    const length = cursor.uint64();
    const type = cursor.uint32();
    if (type !== int32.powerInfer && type !== int32.today) {
      throw cursor.error(
        `it has type ${type}, a GPU index has I32 (${int32.powerInfer} or ${int32.today})`,
      );
    }
    return { name, length, offset: cursor.uint64() };
  });
  const start = BigInt(alignUp(cursor.position, alignment));
  const total = declared.reduce((sum, { length }) => sum + 4n * length, 0n);
  if (start + total > cursor.fileSize) {
    cursor.about("the tensors");
    throw cursor.error(
      `they take ${total} bytes from ${start}, the file has ${cursor.fileSize}`,
    );
  }
  const tensors = new Map<string, Int32Array>();
  for (const { name, length, offset } of declared) {
    cursor.about("tensor", name);
    const end = start + offset + 4n * length;
    if (end > cursor.fileSize) {
      throw cursor.error(
        `needs bytes up to ${end}, the file has ${cursor.fileSize}`,
      );
    }
    if (tensors.has(name)) throw cursor.error("the file has it twice");
    const bytes = cursor.bytes.slice(Number(start + offset), Number(end));
    tensors.set(name, new Int32Array(bytes.buffer));
  }
  return tensors;
}

function readLayers(
  cursor: HeaderCursor,
  tensors: ReadonlyMap<string, Int32Array>,
): Uint32Array[] {
  const layers: Uint32Array[] = [];
  const length = tensors.get(names.mask(0))?.length;
  for (let layer = 0;; layer++) {
    const mask = tensors.get(names.mask(layer));
    if (!mask) return layers;
    cursor.about("tensor", names.mask(layer));
    if (mask.length !== length) {
      throw cursor.error(
        `it has ${mask.length} neurons, layer 0 has ${length}`,
      );
    }
    const wrong = mask.find((value) => value !== 0 && value !== 1);
    if (wrong !== undefined) {
      throw cursor.error(`a neuron's mark is ${wrong}, needs 0 or 1`);
    }
    const neurons = Uint32Array.from(
      [...mask.keys()].filter((id) => mask[id] === 1),
    );
    const bucket = tensors.get(names.bucket(layer));
    cursor.about("tensor", names.bucket(layer));
    if (bucket && bucket.join() !== neurons.join()) {
      throw cursor.error(
        `its ${bucket.length} ids are not the ${neurons.length} that ${
          names.mask(layer)
        } marks`,
      );
    }
    layers.push(neurons);
  }
}
