import { UsageError } from "../../errors.ts";
import {
  dequantiseQ4_0,
  dequantiseQ4_1,
  dequantiseQ5_0,
  dequantiseQ5_1,
  dequantiseQ8_0,
} from "./dequantise_32.ts";
import {
  dequantiseQ2_K,
  dequantiseQ3_K,
  dequantiseQ4_K,
  dequantiseQ5_K,
  dequantiseQ6_K,
} from "./dequantise_k.ts";
import { bfloat16sToFloats, halvesToFloats } from "./float_rows.ts";
import { type GgmlType, ggmlTypes, rowBytes } from "./types.ts";

/**
 * Reads one block, which begins at `offset` in `bytes`, into its weights,
 * which begin at `first` in `out`.
 */
type DequantiseBlock = (
  bytes: Uint8Array,
  offset: number,
  out: Float32Array,
  first: number,
) => void;

const dequantiseBlock: Readonly<
  Record<Exclude<GgmlType, "F32" | "F16" | "BF16">, DequantiseBlock>
> = {
  Q4_0: dequantiseQ4_0,
  Q4_1: dequantiseQ4_1,
  Q5_0: dequantiseQ5_0,
  Q5_1: dequantiseQ5_1,
  Q8_0: dequantiseQ8_0,
  Q2_K: dequantiseQ2_K,
  Q3_K: dequantiseQ3_K,
  Q4_K: dequantiseQ4_K,
  Q5_K: dequantiseQ5_K,
  Q6_K: dequantiseQ6_K,
};

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
      const { blockSize, blockBytes } = ggmlTypes[type];
      const readBlock = dequantiseBlock[type];
      for (let block = 0; block * blockSize < out.length; block++) {
        readBlock(bytes, block * blockBytes, out, block * blockSize);
      }
    }
  }
}
