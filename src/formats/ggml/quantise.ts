import { UsageError } from "../../errors.ts";
import { floatsToBfloat16s, floatsToHalves } from "./float_rows.ts";
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

/**
 * Writes the weights of one block, which begin at `first` in `values`, into its
 * bytes, which begin at `offset` in `bytes` and are zero before.
 */
type QuantiseBlock = (
  values: Float32Array,
  first: number,
  bytes: Uint8Array,
  offset: number,
) => void;

const quantiseBlock: Readonly<
  Record<Exclude<GgmlType, "F32" | "F16" | "BF16">, QuantiseBlock>
> = {
  Q4_0: quantiseQ4_0,
  Q4_1: quantiseQ4_1,
  Q5_0: quantiseQ5_0,
  Q5_1: quantiseQ5_1,
  Q8_0: quantiseQ8_0,
  Q2_K: ofBlock(quantiseQ2_K),
  Q3_K: ofBlock(quantiseQ3_K),
  Q4_K: ofBlock(quantiseQ4_K),
  Q5_K: ofBlock(quantiseQ5_K),
  Q6_K: ofBlock(quantiseQ6_K),
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
      floatsToHalves(values, bytes);
      break;
    case "BF16":
      floatsToBfloat16s(values, bytes);
      break;
    default:
      quantiseBlocks(type, values, bytes);
  }
  return bytes;
}

/** The K types cut a block into groups: they take one by itself. */
function ofBlock(
  quantiseK: (values: Float32Array, block: Uint8Array) => void,
): QuantiseBlock {
  return (values, first, bytes, offset) =>
    quantiseK(values.subarray(first, first + 256), bytes.subarray(offset));
}

function quantiseBlocks(
  type: keyof typeof quantiseBlock,
  values: Float32Array,
  bytes: Uint8Array,
): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new UsageError(
      `Cannot store weights as ${type}: weight ${i} is ${values[i]}`,
    );
  }
  const { blockSize, blockBytes } = ggmlTypes[type];
  const writeBlock = quantiseBlock[type];
  for (let block = 0; block * blockSize < values.length; block++) {
    writeBlock(values, block * blockSize, bytes, block * blockBytes);
  }
}
