import { UsageError } from "../../errors.ts";
import { floatToBfloat16, floatToHalf } from "./half.ts";
import {
  quantiseQ4_0,
  quantiseQ4_1,
  quantiseQ5_0,
  quantiseQ5_1,
  quantiseQ8_0,
} from "./quantise_32.ts";
import {
  quantiseQ2_K,
  quantiseQ3_K,
  quantiseQ4_K,
  quantiseQ5_K,
  quantiseQ6_K,
} from "./quantise_k.ts";
import { type GgmlType, ggmlTypes, rowBytes } from "./types.ts";

/** Writes the weights of one block into its bytes, which are zero before. */
export type QuantiseBlock = (values: Float32Array, block: Uint8Array) => void;

const quantiseBlock: Readonly<
  Record<Exclude<GgmlType, "F32" | "F16" | "BF16">, QuantiseBlock>
> = {
  Q4_0: quantiseQ4_0,
  Q4_1: quantiseQ4_1,
  Q5_0: quantiseQ5_0,
  Q5_1: quantiseQ5_1,
  Q8_0: quantiseQ8_0,
  Q2_K: quantiseQ2_K,
  Q3_K: quantiseQ3_K,
  Q4_K: quantiseQ4_K,
  Q5_K: quantiseQ5_K,
  Q6_K: quantiseQ6_K,
};

/**
 * Stores weights as any type. The float types and those with blocks of 32
 * give the same bytes as ggml's reference code; the K types choose each
 * group's scale by least squares.
 *
 * @param type How to store the weights.
 * @param values A whole number of blocks of weights.
 * @returns The blocks, in order.
 * @throws {UsageError} where the weights are no whole number of blocks, or a block has a weight that is not finite or a scale that f16 cannot hold.
 */
export function quantise(
  type: GgmlType,
  values: Float32Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(rowBytes(type, values.length));
  switch (type) {
    case "F32":
      bytes.set(
        new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      );
      break;
    case "F16":
      writeHalves(values, bytes, floatToHalf);
      break;
    case "BF16":
      writeHalves(values, bytes, floatToBfloat16);
      break;
    default:
      quantiseBlocks(type, values, bytes);
  }
  return bytes;
}

function writeHalves(
  values: Float32Array,
  bytes: Uint8Array,
  bitsOf: (value: number) => number,
): void {
  for (let i = 0; i < values.length; i++) {
    const bits = bitsOf(values[i]);
    bytes[2 * i] = bits;
    bytes[2 * i + 1] = bits >> 8;
  }
}

function quantiseBlocks(
  type: keyof typeof quantiseBlock,
  values: Float32Array,
  bytes: Uint8Array,
): void {
  const unusable = values.findIndex((value) => !Number.isFinite(value));
  if (unusable >= 0) {
    throw new UsageError(
      `Cannot store weights as ${type}: weight ${unusable} is ${
        values[unusable]
      }`,
    );
  }
  const { blockSize, blockBytes } = ggmlTypes[type];
  for (let block = 0; block * blockSize < values.length; block++) {
    quantiseBlock[type](
      values.subarray(block * blockSize, (block + 1) * blockSize),
      bytes.subarray(block * blockBytes, (block + 1) * blockBytes),
    );
  }
}
