import { UsageError } from "../../errors.ts";
import { dequantise32 } from "./dequantise_32.ts";
import { dequantiseK } from "./dequantise_k.ts";
import { bfloat16sToFloats, halvesToFloats } from "./half.ts";
import { makeIntegers, type ReadIntegers } from "./integers.ts";
import { readBlocks } from "./read_blocks.ts";
import { readGrids } from "./read_grids.ts";
import { readTables, readTernary } from "./read_tables.ts";
import { type GgmlType, ggmlTypes, type ReadType, rowBytes } from "./types.ts";

const dequantiseBlock = { ...dequantise32, ...dequantiseK };

const readOnly = { ...readTables, ...readTernary, ...readGrids };

/** Readers of the types that are read as integers. */
export const readIntegers = { ...readBlocks, ...readOnly } satisfies Readonly<
  Record<ReadType, ReadIntegers>
>;

/** Types that are read as integers. */
export type IntegerType = keyof typeof readIntegers;

/** Whether a type is read as integers. */
export function isIntegerType(type: GgmlType): type is IntegerType {
  return type in readIntegers;
}

/** Whether culm reads a type, and does not write it. */
export function isReadType(type: GgmlType): type is ReadType {
  return type in readOnly;
}

/**
 * Reads weights of any type as f32, with ggml's rounding: an f16 scale times
 * the small integers of a block is exact in f64, so storing the result rounds
 * just once.
 *
 * @param type How `bytes` are stored.
 * @param bytes A whole number of blocks.
 * @param out Receives `out.length` weights.
 * @throws {UsageError} where `bytes` are not exactly the bytes of `out.length` weights.
 */
export function dequantise(
  type: GgmlType,
  bytes: Uint8Array,
  out: Float32Array,
): void {
  const expected = rowBytes(type, out.length);
  if (bytes.length !== expected) {
    throw new UsageError(
      `Cannot dequantise ${out.length} weights of ${type}: they take ${expected} bytes, given ${bytes.length}`,
    );
  }
  switch (type) {
    case "F32":
      new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes);
      break;
    case "F16":
      halvesToFloats(bytes, out);
      break;
    case "BF16":
      bfloat16sToFloats(bytes, out);
      break;
    default: {
      if (isIntegerType(type)) return dequantiseIntegers(type, bytes, out);
      const { blockSize, blockBytes } = ggmlTypes[type];
      const readBlock = dequantiseBlock[type];
      for (let block = 0; block * blockSize < out.length; block++) {
        readBlock(bytes, block * blockBytes, out, block * blockSize);
      }
    }
  }
}

function dequantiseIntegers(
  type: IntegerType,
  bytes: Uint8Array,
  out: Float32Array,
): void {
  const { blockSize, blockBytes } = ggmlTypes[type];
  const read: ReadIntegers = readIntegers[type];
  const integers = makeIntegers();
  const { q, scale, min } = integers;
  for (let first = 0; first < out.length; first += 32) {
    const block = Math.floor(first / blockSize);
    const part = first % blockSize / 32;
    read(bytes, block * blockBytes, part, integers);
    for (let j = 0; j < 32; j++) {
      out[first + j] = scale[j >> 4] * q[j] + min[j >> 4];
    }
  }
}
