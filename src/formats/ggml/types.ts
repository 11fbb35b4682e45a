import { UsageError } from "../../errors.ts";

/** Name of a ggml tensor type. */
export type GgmlType =
  | "F32"
  | "F16"
  | "BF16"
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q8_0"
  | "Q2_K"
  | "Q3_K"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K";

/** Types whose blocks hold 256 weights. */
export type TypeK = Extract<GgmlType, `${string}_K`>;

/** Types whose blocks hold 32 weights. */
export type Type32 = Exclude<GgmlType, "F32" | "F16" | "BF16" | TypeK>;

/** How a tensor type is numbered in files and laid out in bytes: a row is a whole number of blocks. */
export interface GgmlTypeInfo {
  /** Its name. */
  readonly name: GgmlType;
  /** Its number in a GGUF file. */
  readonly id: number;
  /** Weights in a block. */
  readonly blockSize: number;
  /** Bytes of a block. */
  readonly blockBytes: number;
}

/** Every tensor type that culm reads. */
export const ggmlTypes: Readonly<Record<GgmlType, GgmlTypeInfo>> = {
  F32: { name: "F32", id: 0, blockSize: 1, blockBytes: 4 },
  F16: { name: "F16", id: 1, blockSize: 1, blockBytes: 2 },
  BF16: { name: "BF16", id: 30, blockSize: 1, blockBytes: 2 },
  Q4_0: { name: "Q4_0", id: 2, blockSize: 32, blockBytes: 18 },
  Q4_1: { name: "Q4_1", id: 3, blockSize: 32, blockBytes: 20 },
  Q5_0: { name: "Q5_0", id: 6, blockSize: 32, blockBytes: 22 },
  Q5_1: { name: "Q5_1", id: 7, blockSize: 32, blockBytes: 24 },
  Q8_0: { name: "Q8_0", id: 8, blockSize: 32, blockBytes: 34 },
  Q2_K: { name: "Q2_K", id: 10, blockSize: 256, blockBytes: 84 },
  Q3_K: { name: "Q3_K", id: 11, blockSize: 256, blockBytes: 110 },
  Q4_K: { name: "Q4_K", id: 12, blockSize: 256, blockBytes: 144 },
  Q5_K: { name: "Q5_K", id: 13, blockSize: 256, blockBytes: 176 },
  Q6_K: { name: "Q6_K", id: 14, blockSize: 256, blockBytes: 210 },
};

const typesById = new Map(
  Object.values(ggmlTypes).map((info) => [info.id, info]),
);

/** The type with this number in a GGUF file, or undefined where culm has none. */
export function ggmlTypeById(id: number): GgmlTypeInfo | undefined {
  return typesById.get(id);
}

/**
 * Bytes of a row of `k` weights.
 *
 * @throws {UsageError} where `k` is not a whole number of blocks.
 */
export function rowBytes(type: GgmlType, k: number): number {
  const { blockSize, blockBytes } = ggmlTypes[type];
  if (!Number.isSafeInteger(k) || k < 0 || k % blockSize !== 0) {
    throw new UsageError(
      `Cannot store a row of ${k} weights as ${type}: a block holds ${blockSize}`,
    );
  }
  return (k / blockSize) * blockBytes;
}

/**
 * Bytes of a tensor. `shape` is in ggml's order: `shape[0]` is the length of a row.
 *
 * @throws {UsageError} where a row is not a whole number of blocks.
 */
export function tensorBytes(type: GgmlType, shape: readonly number[]): number {
  return shape.slice(1).reduce(
    (product, size) => product * size,
    rowBytes(type, shape[0]),
  );
}

/** Bytes of several tensors. */
export function bytesOfTensors(
  tensors: Iterable<{ type: GgmlType; shape: readonly number[] }>,
): number {
  let sum = 0;
  for (const { type, shape } of tensors) sum += tensorBytes(type, shape);
  return sum;
}
