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
  | "Q6_K"
  | "IQ4_NL"
  | "IQ4_XS"
  | "MXFP4"
  | "NVFP4"
  | "TQ1_0"
  | "TQ2_0"
  | "Q1_0"
  | "Q2_0"
  | "IQ1_S"
  | "IQ1_M"
  | "IQ2_XXS"
  | "IQ2_XS"
  | "IQ2_S"
  | "IQ3_XXS"
  | "IQ3_S";

/** Types of nibbles that number a table of 16 integers. */
export type TypeTable = Extract<GgmlType, `IQ4_${string}` | `${string}FP4`>;

/** Types of one or two bits a weight, or of digits of base 3. */
export type TypeTernary = Extract<GgmlType, `TQ${string}` | "Q1_0" | "Q2_0">;

/** Types of numbers of a grid of small vectors. */
export type TypeGrid = Extract<GgmlType, `IQ${1 | 2 | 3}_${string}`>;

/** Types that culm reads, and does not write. */
export type ReadType = TypeTable | TypeTernary | TypeGrid;

/** Types that culm writes as well as reads. */
export type WrittenType = Exclude<GgmlType, ReadType>;

/** Types whose blocks hold 256 weights, of those that are written. */
export type TypeK = Extract<GgmlType, `Q${string}_K`>;

/** Types whose blocks hold 32 weights, of those that are written. */
export type Type32 = Exclude<WrittenType, "F32" | "F16" | "BF16" | TypeK>;

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
  IQ4_NL: { name: "IQ4_NL", id: 20, blockSize: 32, blockBytes: 18 },
  IQ4_XS: { name: "IQ4_XS", id: 23, blockSize: 256, blockBytes: 136 },
  MXFP4: { name: "MXFP4", id: 39, blockSize: 32, blockBytes: 17 },
  NVFP4: { name: "NVFP4", id: 40, blockSize: 64, blockBytes: 36 },
  TQ1_0: { name: "TQ1_0", id: 34, blockSize: 256, blockBytes: 54 },
  TQ2_0: { name: "TQ2_0", id: 35, blockSize: 256, blockBytes: 66 },
  Q1_0: { name: "Q1_0", id: 41, blockSize: 128, blockBytes: 18 },
  Q2_0: { name: "Q2_0", id: 42, blockSize: 64, blockBytes: 18 },
  IQ1_S: { name: "IQ1_S", id: 19, blockSize: 256, blockBytes: 50 },
  IQ1_M: { name: "IQ1_M", id: 29, blockSize: 256, blockBytes: 56 },
  IQ2_XXS: { name: "IQ2_XXS", id: 16, blockSize: 256, blockBytes: 66 },
  IQ2_XS: { name: "IQ2_XS", id: 17, blockSize: 256, blockBytes: 74 },
  IQ2_S: { name: "IQ2_S", id: 22, blockSize: 256, blockBytes: 82 },
  IQ3_XXS: { name: "IQ3_XXS", id: 18, blockSize: 256, blockBytes: 98 },
  IQ3_S: { name: "IQ3_S", id: 21, blockSize: 256, blockBytes: 110 },
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
