/**
 * Writers of the types whose blocks hold 32 weights under one scale. Every
 * step rounds to f32 as ggml's reference code does, so the bytes are the same.
 *
 * @module
 */

import { UsageError } from "../../errors.ts";
import { floatToHalf, halfToFloat } from "./half.ts";

const f32 = Math.fround;

/** Scale: the weight of largest magnitude becomes −8. */
export function quantiseQ4_0(values: Float32Array, block: Uint8Array): void {
  const d = f32(largestMagnitude(values) / -8);
  const inverse = reciprocal(d);
  writeHalf(block, 0, d);
  const quants = values.map((value) =>
    Math.min(15, Math.trunc(f32(f32(value * inverse) + 8.5)))
  );
  writeNibbles(block, 2, quants);
}

/** Scale and offset: the range of the weights is cut into 15 steps. */
export function quantiseQ4_1(values: Float32Array, block: Uint8Array): void {
  const { min, d } = stepsOfRange(values, 15);
  const inverse = reciprocal(d);
  writeHalf(block, 0, d);
  writeHalf(block, 2, min);
  const quants = values.map((value) =>
    Math.min(15, Math.trunc(f32(f32(f32(value - min) * inverse) + 0.5)))
  );
  writeNibbles(block, 4, quants);
}

/** Scale: the weight of largest magnitude becomes −16. */
export function quantiseQ5_0(values: Float32Array, block: Uint8Array): void {
  const d = f32(largestMagnitude(values) / -16);
  const inverse = reciprocal(d);
  writeHalf(block, 0, d);
  const quants = values.map((value) =>
    Math.min(31, Math.trunc(f32(f32(value * inverse) + 16.5)))
  );
  writeFifthBits(block, 2, quants);
  writeNibbles(block, 6, quants);
}

/** Scale and offset: the range of the weights is cut into 31 steps. */
export function quantiseQ5_1(values: Float32Array, block: Uint8Array): void {
  const { min, d } = stepsOfRange(values, 31);
  const inverse = reciprocal(d);
  writeHalf(block, 0, d);
  writeHalf(block, 2, min);
  const quants = values.map((value) =>
    Math.min(31, Math.trunc(f32(f32(f32(value - min) * inverse) + 0.5)))
  );
  writeFifthBits(block, 4, quants);
  writeNibbles(block, 8, quants);
}

/** Scale: the largest magnitude becomes 127. */
export function quantiseQ8_0(values: Float32Array, block: Uint8Array): void {
  const d = f32(Math.abs(largestMagnitude(values)) / 127);
  const inverse = reciprocal(d);
  writeHalf(block, 0, d);
  for (let j = 0; j < 32; j++) {
    block[2 + j] = roundTiesAway(f32(values[j] * inverse));
  }
}

/** The first of the values whose magnitude is the largest, with its sign. */
export function largestMagnitude(values: ArrayLike<number>): number {
  let largest = 0;
  for (let j = 0; j < values.length; j++) {
    if (Math.abs(values[j]) > Math.abs(largest)) largest = values[j];
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

function stepsOfRange(
  values: Float32Array,
  steps: number,
): { min: number; d: number } {
  const min = Math.min(...values);
  return { min, d: f32(f32(Math.max(...values) - min) / steps) };
}

/** 1 / d, or 0 where the scale is too small to divide by: then all weights are 0. */
function reciprocal(d: number): number {
  const inverse = f32(1 / d);
  return Number.isFinite(inverse) ? inverse : 0;
}

function roundTiesAway(value: number): number {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

function writeNibbles(
  block: Uint8Array,
  offset: number,
  quants: Float32Array,
): void {
  for (let j = 0; j < 16; j++) {
    block[offset + j] = (quants[j] & 15) | ((quants[j + 16] & 15) << 4);
  }
}

function writeFifthBits(
  block: Uint8Array,
  offset: number,
  quants: Float32Array,
): void {
  for (let j = 0; j < 32; j++) {
    block[offset + (j >> 3)] |= (quants[j] >> 4) << (j & 7);
  }
}
