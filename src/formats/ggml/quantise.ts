import { UsageError } from "../../errors.ts";
import { isReadType } from "./dequantise.ts";
import { floatsToBfloat16s, floatsToHalves } from "./half.ts";
import { quantise32, type QuantiseBlock } from "./quantise_32.ts";
import { quantiseK } from "./quantise_k.ts";
import {
  type GgmlType,
  ggmlTypes,
  type ReadType,
  rowBytes,
  type Type32,
  type TypeK,
} from "./types.ts";

/**
 * Stores weights as any type. The float types and those with blocks of 32
 * give the same bytes as ggml's reference code; the K types choose each
 * group's scale by least squares.
 *
 * @param type How to store the weights.
 * @param values A whole number of blocks of weights.
 * @returns The blocks, in order.
 * @throws {UsageError} where culm does not write the type, the weights are no whole number of blocks, or a block has a weight that is not finite or a scale that f16 cannot hold.
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
      checkWritten(type);
      quantiseBlocks(type, values, bytes);
  }
  return bytes;
}

/**
 * Stops where a type is one that culm does not write.
 *
 * @throws {UsageError} that names those it writes
 */
function checkWritten(type: Type32 | TypeK | ReadType): asserts type is
  | Type32
  | TypeK {
  if (!isReadType(type)) return;
  const written = Object.keys(ggmlTypes)
    .filter((name) => !isReadType(name as GgmlType)).join(", ");
  throw new UsageError(
    `Cannot store weights as ${type}: culm reads it, and writes ${written}`,
  );
}

function quantiseBlocks(
  type: Type32 | TypeK,
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
  const writeBlock = blockWriter(type);
  for (let block = 0; block * blockSize < values.length; block++) {
    writeBlock(values, block * blockSize, bytes, block * blockBytes);
  }
}

/** The K types cut a block into groups: they take one by itself. */
function blockWriter(type: Type32 | TypeK): QuantiseBlock {
  if (!(type in quantiseK)) return quantise32[type as Type32];
  const writeBlock = quantiseK[type as TypeK];
  return (values, first, bytes, offset) =>
    writeBlock(values.subarray(first, first + 256), bytes.subarray(offset));
}
