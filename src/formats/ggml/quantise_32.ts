/**
 * Writers of the types whose blocks hold 32 weights under one scale. Every
 * step rounds to f32 as ggml's reference code does, so the bytes are the same.
 */
import { UsageError } from "../../errors.ts";
import { floatToHalf, halfToFloat } from "./half.ts";
import type { Type32 } from "./types.ts";

const f32 = Math.fround;

/** The integers of the block at hand. */
const quants = new Uint8Array(32);

/**
 * Writes the weights of one block, which begin at `first` in `values`, into its
 * bytes, which begin at `offset` in `bytes` and are zero before.
 */
export type QuantiseBlock = (
  values: Float32Array,
  first: number,
  bytes: Uint8Array,
  offset: number,
) => void;

/** By type. */
export const quantise32: Readonly<Record<Type32, QuantiseBlock>> = {
  /** Scale: the weight of largest magnitude becomes −8. */
  Q4_0(values, first, bytes, offset) {
    quantiseSymmetric(values, first, 8, bytes, offset);
    writeNibbles(bytes, offset + 2);
  },
  /** Scale and offset: the range of the weights is cut into 15 steps. */
  Q4_1(values, first, bytes, offset) {
    quantiseRange(values, first, 15, bytes, offset);
    writeNibbles(bytes, offset + 4);
  },
  /** Scale: the weight of largest magnitude becomes −16. */
  Q5_0(values, first, bytes, offset) {
    quantiseSymmetric(values, first, 16, bytes, offset);
    writeFifthBits(bytes, offset + 2);
    writeNibbles(bytes, offset + 6);
  },
  /** Scale and offset: the range of the weights is cut into 31 steps. */
  Q5_1(values, first, bytes, offset) {
    quantiseRange(values, first, 31, bytes, offset);
    writeFifthBits(bytes, offset + 4);
    writeNibbles(bytes, offset + 8);
  },
  /** Scale: the largest magnitude becomes 127. */
  Q8_0(values, first, bytes, offset) {
    const d = f32(Math.abs(largestMagnitude(values, first, first + 32)) / 127);
    const inverse = reciprocal(d);
    writeHalf(bytes, offset, d);
    for (let j = 0; j < 32; j++) {
      const scaled = f32(values[first + j] * inverse);
      // Both are the nearest integer; they differ in ties, which go away from
      // zero. Asking each weight for its sign would be a guess that often fails.
      const up = ((scaled + 128.5) | 0) - 128;
      const down = 128 - ((128.5 - scaled) | 0);
      bytes[offset + 2 + j] = up !== down && scaled < 0 ? down : up;
    }
  },
};

/** The first of the values `first..end` whose magnitude is the largest, with its sign. */
export function largestMagnitude(
  values: ArrayLike<number>,
  first = 0,
  end = values.length,
): number {
  let largest = 0;
  let magnitude = 0;
  for (let j = first; j < end; j++) {
    const each = Math.abs(values[j]);
    if (each <= magnitude) continue;
    magnitude = each;
    largest = values[j];
  }
  return largest;
}

/**
 * Writes an f16 and returns the value that it holds.
 *
 * @throws {UsageError} where it is beyond f16.
 */
export function writeHalf(
  bytes: Uint8Array,
  offset: number,
  value: number,
): number {
  const half = floatToHalf(value);
  const stored = halfToFloat(half);
  if (!Number.isFinite(stored)) {
    throw new UsageError(
      `Cannot quantise a block of weights: its scale ${value} is beyond f16, which ends at 65504`,
    );
  }
  bytes[offset] = half;
  bytes[offset + 1] = half >> 8;
  return stored;
}

/** Writes the scale, and finds the integers 0..2 · `middle` − 1, of which `middle` stands for 0. */
function quantiseSymmetric(
  values: Float32Array,
  first: number,
  middle: number,
  bytes: Uint8Array,
  offset: number,
): void {
  const d = f32(largestMagnitude(values, first, first + 32) / -middle);
  const inverse = reciprocal(d);
  const half = middle + 0.5, highest = 2 * middle - 1;
  writeHalf(bytes, offset, d);
  for (let j = 0; j < 32; j++) {
    quants[j] = Math.min(highest, f32(f32(values[first + j] * inverse) + half));
  }
}

/** Writes scale and minimum, and finds the integers 0..`steps`. */
function quantiseRange(
  values: Float32Array,
  first: number,
  steps: number,
  bytes: Uint8Array,
  offset: number,
): void {
  let min = Infinity;
  let max = -Infinity;
  for (let j = first; j < first + 32; j++) {
    min = Math.min(min, values[j]);
    max = Math.max(max, values[j]);
  }
  const d = f32(f32(max - min) / steps);
  const inverse = reciprocal(d);
  writeHalf(bytes, offset, d);
  writeHalf(bytes, offset + 2, min);
  for (let j = 0; j < 32; j++) {
    const scaled = f32(f32(values[first + j] - min) * inverse);
    quants[j] = Math.min(steps, f32(scaled + 0.5));
  }
}

/** 1 / d, or 0 where the scale is too small to divide by: then all weights are 0. */
function reciprocal(d: number): number {
  const inverse = f32(1 / d);
  return Number.isFinite(inverse) ? inverse : 0;
}

function writeNibbles(bytes: Uint8Array, offset: number): void {
  for (let j = 0; j < 16; j++) {
    bytes[offset + j] = (quants[j] & 15) | ((quants[j + 16] & 15) << 4);
  }
}

function writeFifthBits(bytes: Uint8Array, offset: number): void {
  for (let j = 0; j < 32; j++) {
    bytes[offset + (j >> 3)] |= (quants[j] >> 4) << (j & 7);
  }
}
