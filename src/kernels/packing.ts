/**
 * The layouts into which weights are repacked while loading. They are made for
 * streaming (`wasm/src/layout.rs` describes the bytes) and never change a
 * weight's value: a type without a kernel of its own goes to the next layout
 * that holds it exactly.
 */
import type { GgmlType } from "../formats/ggml/types.ts";
import { lengthOf } from "../model/index_set.ts";
import {
  allShards,
  type PlaceShards,
  readColumns,
  type Shard,
} from "../model/shard.ts";

/** Packed layouts by the number that the kernels know them by. */
export const packedKind = {
  f32: 0,
  f16: 1,
  /** nibbles, a scale per 32 */
  q4: 2,
  /** nibbles, a scale and a minimum per 32, both f16 */
  q4Min: 3,
  /** the same, both f32 */
  q4K: 4,
  /** nibbles that number a table, an f32 scale per 32; so the next five, each with a table of its own */
  iq4: 5,
  fp4: 6,
  iq3: 7,
  iq3S: 8,
  iq2: 9,
  iq1: 10,
  /** bytes, a scale per 32 */
  i8: 11,
  /** bytes, a scale and a minimum per 32 */
  i8Min: 12,
  /** bytes, a scale per 16 */
  i8Half: 13,
  /** bytes, a scale and a minimum per 16 */
  i8HalfMin: 14,
  /** nibbles, codes of a scale and a minimum per 32 and two f32 units per 128 */
  k4: 15,
  /** the same of integers of 6 bits */
  k5: 16,
  /** integers of 6 bits, the code of a scale per 16, an f32 unit per 128 */
  k6: 17,
  /** integers of 6 bits, an f16 scale per 32 */
  i6: 18,
} as const;

/** Names of the layouts, for people, by number. */
// deno-fmt-ignore
export const kindNames = [
  "F32", "F16", "Q4", "Q4M", "Q4K", "IQ4", "FP4", "IQ3", "IQ3S", "IQ2", "IQ1",
  "I8", "I8M", "I8H", "I8HM", "K4", "K5", "K6", "I6",
] as const;

/** The layout that holds a type's weights exactly, where they come in whole groups. */
const kindOfType: Readonly<Record<GgmlType, number>> = {
  F32: packedKind.f32,
  F16: packedKind.f16,
  BF16: packedKind.f32,
  Q4_0: packedKind.q4,
  Q4_1: packedKind.q4Min,
  Q5_0: packedKind.i6,
  Q5_1: packedKind.i8Min,
  Q8_0: packedKind.i8,
  Q2_K: packedKind.i8HalfMin,
  Q3_K: packedKind.k6,
  Q4_K: packedKind.k4,
  Q5_K: packedKind.k5,
  Q6_K: packedKind.k6,
  IQ4_NL: packedKind.iq4,
  IQ4_XS: packedKind.iq4,
  MXFP4: packedKind.fp4,
  NVFP4: packedKind.i8Half,
  TQ1_0: packedKind.q4,
  TQ2_0: packedKind.q4,
  Q1_0: packedKind.q4,
  Q2_0: packedKind.q4,
  IQ1_S: packedKind.iq1,
  IQ1_M: packedKind.i8Half,
  IQ2_XXS: packedKind.iq2,
  IQ2_XS: packedKind.i8Half,
  IQ2_S: packedKind.i8Half,
  IQ3_XXS: packedKind.iq3,
  IQ3_S: packedKind.iq3S,
};

/** What holds the same weights in groups that are not whole. */
const looseKinds: Readonly<Record<number, number>> = {
  [packedKind.k4]: packedKind.q4K,
  [packedKind.k5]: packedKind.i8Min,
  [packedKind.k6]: packedKind.i8Half,
  [packedKind.i6]: packedKind.i8,
};

/** The layout that holds `count` columns from `first` on exactly, of rows of a type. */
export function kindOfColumns(
  type: GgmlType,
  first: number,
  count: number,
): number {
  const kind = kindOfType[type];
  const isWhole = first % groupWeights === 0 && count % groupWeights === 0;
  return isWhole ? kind : looseKinds[kind] ?? kind;
}

/** The layout of a shard's rows. */
export function kindOf(shard: Shard): number {
  const { tensor, columns } = shard;
  const { first } = readColumns(shard);
  return kindOfColumns(tensor.type, first, lengthOf(columns));
}

/** Weights of a group: four blocks side by side, a lane of a vector each. */
const groupWeights = 128;

/** Bytes of a group. */
// deno-fmt-ignore
const groupBytes = [
  0, 0, 72, 80, 96, 80, 80, 80, 80, 80, 80, 136, 160, 160, 192, 80, 112, 108, 104,
];

/** Bytes before the halves of an f16 row, and before the groups of kinds whose scales are halves: the row's scale. */
const f16HeadBytes = 16, scaleHeadBytes = 8;

/** Bytes of a packed row of `columns` weights. */
export function packedRowBytes(kind: number, columns: number): number {
  if (kind === packedKind.f32) return 4 * roundUp(columns, 8);
  if (kind === packedKind.f16) return f16HeadBytes + 2 * roundUp(columns, 8);
  // Where at most two blocks are left, the last group is half of one.
  const groups = Math.ceil(columns / 64) / 2 * groupBytes[kind];
  const hasHead = kind === packedKind.q4 || kind === packedKind.q4Min;
  return hasHead ? scaleHeadBytes + groups : groups;
}

/** Bytes that a shard takes, packed. */
export function packedSliceBytes(shard: Shard): number {
  const { rows, columns } = shard;
  return lengthOf(rows) * packedRowBytes(kindOf(shard), lengthOf(columns));
}

/** Bytes that a place's packed weights take. */
export function packedBytes(shards: PlaceShards): number {
  let bytes = 0;
  for (const shard of allShards(shards)) bytes += packedSliceBytes(shard);
  return bytes;
}

/** `value`, rounded up to a multiple of `unit`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
