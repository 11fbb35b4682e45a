import { allBytes } from "../../bytes/stream.ts";
import { UsageError } from "../../errors.ts";
import { ggmlTypes, tensorBytes } from "../ggml/types.ts";
import {
  alignUp,
  DEFAULT_ALIGNMENT,
  type GgufFile,
  type GgufMagic,
  isAlignment,
  type MetadataEntry,
  type TensorInfo,
} from "./gguf_file.ts";
import { HeaderWriter } from "./header_writer.ts";
import { readGguf } from "./read.ts";

/** A tensor to write: its bytes, or something that streams them. */
export interface TensorToWrite
  extends Pick<TensorInfo, "name" | "type" | "shape"> {
  /** Its bytes, as the type stores them. */
  readonly data: Uint8Array | (() => AsyncIterable<Uint8Array>);
}

/** What a file is made of. */
export interface GgufToWrite {
  /** Default: `GGUF`. */
  readonly magic?: GgufMagic;
  /** Default: 3. */
  readonly version?: 2 | 3;
  /** Default: `general.alignment`, or 32. Any other adds that key. */
  readonly alignment?: number;
  /** Metadata in the order to write it. */
  readonly metadata: Iterable<readonly [string, MetadataEntry]>;
  /** Tensors in the order to write them. */
  readonly tensors: readonly TensorToWrite[];
}

/** A tensor as it stands in the file. */
export interface TensorPart {
  /** Its name. */
  readonly name: string;
  /** Its bytes and the zeros behind them. */
  readonly byteLength: number;
  /**
   * All of these bytes, first to last.
   *
   * @throws {UsageError} where the tensor's data do not fit its shape
   */
  chunks(): AsyncGenerator<Uint8Array>;
}

/** A file in parts that follow one another. */
export interface GgufParts {
  /** All that comes before the tensors. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** The tensors, in order. */
  readonly tensors: readonly TensorPart[];
}

/**
 * Cuts a file into parts. Header and tensors are padded with zeros to the
 * alignment each.
 *
 * @throws {UsageError} where the format cannot hold what is given.
 */
export function ggufParts(file: GgufToWrite): GgufParts {
  const metadata = new Map(file.metadata);
  const alignment = chooseAlignment(file.alignment, metadata);
  return {
    header: writeHeader(file, metadata, alignment),
    tensors: file.tensors.map((tensor) => ({
      name: tensor.name,
      byteLength: alignUp(bytesOf(tensor), alignment),
      chunks: () => paddedChunks(tensor, alignment),
    })),
  };
}

/**
 * Writes a GGUF or PWRI file, part after part: no tensor is held in memory
 * unless the caller holds it.
 *
 * @throws {UsageError} where the format cannot hold what is given, or a tensor's bytes do not fit its shape.
 */
export async function* writeGguf(
  file: GgufToWrite,
): AsyncGenerator<Uint8Array> {
  const { header, tensors } = ggufParts(file);
  yield header;
  for (const tensor of tensors) yield* tensor.chunks();
}

/**
 * Collects a stream, for instance of {@linkcode writeGguf}, in one buffer.
 *
 * @throws what the stream throws.
 */
export function toBuffer(
  stream: AsyncIterable<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  return allBytes(stream);
}

/** The header of a file that is to be written, and what a reader makes of it. */
export async function headerOf(
  file: GgufToWrite,
  name: string,
): Promise<{ header: Uint8Array; file: GgufFile }> {
  const { header } = ggufParts(file);
  const parsed = await readGguf({
    name,
    size: Number.MAX_SAFE_INTEGER,
    read: (offset, length) => {
      const bytes = new Uint8Array(length);
      bytes.set(header.subarray(offset, offset + length));
      return Promise.resolve(bytes);
    },
    close: () => Promise.resolve(),
  });
  const ends = parsed.tensors.values().map((each) =>
    each.offset + each.byteLength
  );
  const size = Math.max(header.length, ...ends);
  return { header, file: { ...parsed, size } };
}

function writeHeader(
  file: GgufToWrite,
  metadata: ReadonlyMap<string, MetadataEntry>,
  alignment: number,
): Uint8Array<ArrayBuffer> {
  const { magic = "GGUF", version = 3, tensors } = file;
  const writer = new HeaderWriter();
  writer.bytes(new TextEncoder().encode(magic));
  writer.uint32(version);
  writer.uint64(tensors.length);
  writer.uint64(metadata.size);
  for (const [key, entry] of metadata) writer.entry(key, entry);
  const names = new Set<string>();
  let offset = 0;
  for (const tensor of tensors) {
    if (names.has(tensor.name)) {
      throw new UsageError(
        `Cannot write tensor ${tensor.name}: there are two of this name`,
      );
    }
    names.add(tensor.name);
    writer.string(tensor.name);
    writer.uint32(tensor.shape.length);
    for (const size of tensor.shape) writer.uint64(size);
    writer.uint32(ggmlTypes[tensor.type].id);
    writer.uint64(offset);
    offset = alignUp(offset + bytesOf(tensor), alignment);
  }
  const header = writer.finish();
  const padded = new Uint8Array(alignUp(header.length, alignment));
  padded.set(header);
  return padded;
}

/** Adds `general.alignment` to the metadata where the alignment is unusual. */
function chooseAlignment(
  asked: number | undefined,
  metadata: Map<string, MetadataEntry>,
): number {
  const key = "general.alignment";
  const stated = metadata.get(key)?.value;
  const alignment = asked ?? stated ?? DEFAULT_ALIGNMENT;
  if (typeof alignment !== "number" || !isAlignment(alignment)) {
    throw new UsageError(
      `Cannot align tensors to ${
        String(alignment)
      } bytes: must be a power of two up to 2147483648`,
    );
  }
  if (stated !== undefined && stated !== alignment) {
    throw new UsageError(
      `Cannot align tensors to ${alignment} bytes: metadata ${key} says ${
        String(stated)
      }`,
    );
  }
  if (stated === undefined && alignment !== DEFAULT_ALIGNMENT) {
    metadata.set(key, { type: "uint32", value: alignment });
  }
  return alignment;
}

function bytesOf({ name, type, shape }: TensorToWrite): number {
  const isShape = shape.length >= 1 && shape.length <= 4 &&
    shape.every((size) => Number.isSafeInteger(size) && size > 0);
  if (!isShape) {
    throw new UsageError(
      `Cannot write tensor ${name}: its shape ${
        shape.join("x")
      } must be 1 to 4 sizes above 0`,
    );
  }
  return tensorBytes(type, shape);
}

async function* paddedChunks(
  tensor: TensorToWrite,
  alignment: number,
): AsyncGenerator<Uint8Array> {
  const expected = bytesOf(tensor);
  let written = 0;
  for await (const chunk of chunksOf(tensor)) {
    written += chunk.length;
    if (written > expected) break;
    yield chunk;
  }
  if (written !== expected) {
    throw new UsageError(
      `Cannot write tensor ${tensor.name}: its shape ${
        tensor.shape.join("x")
      } takes ${expected} bytes as ${tensor.type}, its data has ${
        written > expected ? "at least " : ""
      }${written}`,
    );
  }
  const missing = alignUp(written, alignment) - written;
  if (missing > 0) yield new Uint8Array(missing);
}

/** The bytes of a tensor, first to last. */
export async function* chunksOf(
  { data }: TensorToWrite,
): AsyncGenerator<Uint8Array> {
  if (data instanceof Uint8Array) yield data;
  else yield* data();
}
