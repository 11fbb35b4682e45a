import { UnsupportedError } from "../../errors.ts";
import {
  ggmlTypeById,
  type GgmlTypeInfo,
  ggmlTypes,
  tensorBytes,
} from "../ggml/types.ts";
import { alignUp, type TensorInfo } from "./gguf_file.ts";
import { ENTRY_VALUES, type HeaderCursor, printable } from "./header_cursor.ts";

const MOST_DIMENSIONS = 4;

/** The fewest bytes that describe a tensor: an empty name and one dimension. */
export const FEWEST_TENSOR_BYTES: number = 8 + 4 + 8 + 4 + 8;

/** A tensor as the header describes it, before its place is checked. */
export interface DeclaredTensor
  extends Pick<TensorInfo, "name" | "type" | "shape"> {
  /** Offset from the first byte of tensor data. */
  readonly relativeOffset: bigint;
}

/** Reads the descriptions of tensors, the last part of the header, until `tensors` has `count`. */
export function readTensors(
  cursor: HeaderCursor,
  count: number,
  tensors: Map<string, DeclaredTensor>,
): void {
  for (let index = tensors.size; index < count; index++) {
    cursor.about(`tensor ${index}`);
    cursor.hold(ENTRY_VALUES);
    const name = cursor.name();
    cursor.about("tensor", name);
    if (tensors.has(name)) {
      throw cursor.error(`tensor ${index} has the same name as an earlier one`);
    }
    const dimensions = readDimensions(cursor);
    const { name: type, blockSize } = readTensorType(cursor);
    const shape = checkShape(cursor, dimensions);
    if (shape[0] % blockSize !== 0) {
      throw cursor.error(
        `a row of ${
          shape[0]
        } weights is no whole number of ${type} blocks of ${blockSize}`,
      );
    }
    tensors.set(name, { name, type, shape, relativeOffset: cursor.uint64() });
    cursor.pass();
  }
}

function readDimensions(cursor: HeaderCursor): bigint[] {
  const count = cursor.uint32();
  if (count < 1 || count > MOST_DIMENSIONS) {
    throw cursor.error(
      `it has ${count} dimensions, a tensor has 1 to ${MOST_DIMENSIONS}`,
    );
  }
  return Array.from({ length: count }, () => cursor.uint64());
}

function checkShape(cursor: HeaderCursor, dimensions: bigint[]): number[] {
  if (dimensions.some((dimension) => dimension === 0n)) {
    throw cursor.error(`a dimension is 0 in its shape ${dimensions.join("x")}`);
  }
  const weights = dimensions.reduce((product, dimension) =>
    product * dimension
  );
  if (weights > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw cursor.error(
      `its shape ${
        dimensions.join("x")
      } holds ${weights} weights, the file has ${cursor.fileSize} bytes`,
    );
  }
  return dimensions.map(Number);
}

/** Names of the types that culm has no reader for, by number, for messages. */
const otherTypes: Readonly<Record<number, string>> = {
  9: "Q8_1",
  15: "Q8_K",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
};

function readTensorType(cursor: HeaderCursor): GgmlTypeInfo {
  const id = cursor.uint32();
  const info = ggmlTypeById(id);
  if (info !== undefined) return info;
  const known = otherTypes[id] === undefined ? "" : ` (${otherTypes[id]})`;
  throw new UnsupportedError(
    `Cannot read ${cursor.described} of ${cursor.fileName}: it has type ${id}${known}, culm reads ${
      Object.keys(ggmlTypes).join(", ")
    }`,
  );
}

/**
 * Gives each tensor its place in the file, once the whole header is read.
 * Data begins at the next multiple of the alignment.
 */
export function placeTensors(
  cursor: HeaderCursor,
  declared: ReadonlyMap<string, DeclaredTensor>,
  alignment: number,
): Map<string, TensorInfo> {
  const dataStart = alignUp(cursor.position, alignment);
  const tensors = new Map<string, TensorInfo>();
  for (const { name, type, shape, relativeOffset } of declared.values()) {
    cursor.about("tensor", name);
    if (relativeOffset % BigInt(alignment) !== 0n) {
      throw cursor.error(
        `its offset ${relativeOffset} is no multiple of the alignment ${alignment}`,
      );
    }
    const byteLength = tensorBytes(type, shape);
    const start = BigInt(dataStart) + relativeOffset;
    const end = start + BigInt(byteLength);
    if (end > BigInt(cursor.fileSize)) {
      throw cursor.error(
        `needs bytes ${start}..${end}, the file has ${cursor.fileSize}`,
      );
    }
    const offset = Number(start);
    tensors.set(name, { name, type, shape, offset, byteLength });
  }
  refuseOverlaps(cursor, tensors);
  return tensors;
}

function refuseOverlaps(
  cursor: HeaderCursor,
  tensors: ReadonlyMap<string, TensorInfo>,
): void {
  const inOrder = [...tensors.values()].sort((a, b) => a.offset - b.offset);
  for (let index = 1; index < inOrder.length; index++) {
    const before = inOrder[index - 1];
    const { name, offset } = inOrder[index];
    if (before.offset + before.byteLength > offset) {
      cursor.about("tensor", name);
      throw cursor.error(
        `begins at byte ${offset}, where tensor ${
          printable(before.name)
        } ends at ${before.offset + before.byteLength}`,
      );
    }
  }
}
