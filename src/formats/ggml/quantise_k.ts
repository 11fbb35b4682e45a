/**
 * Writers of the K types. Each group of weights first gets a real scale (and
 * minimum) by least squares; these are rounded to small integers under the
 * block's f16 scale; then the weights are rounded under what was stored.
 *
 * @module
 */

import {
  nibblesOfGroup,
  sixBitsOfGroup,
  twoBitsOfGroup,
} from "./dequantise_k.ts";
import { type AffineFit, fitAffine, fitScale, nearest } from "./fit.ts";
import { largestMagnitude, writeHalf } from "./quantise_32.ts";

/** Writes a block of Q2_K; the layouts are described at the readers. */
export function quantiseQ2_K(values: Float32Array, block: Uint8Array): void {
  const groups = groupsOf(values, 16);
  const fits = groups.map((group) => fitAffine(group, 3));
  const { d, dmin, scales, mins } = storeAffine(fits, 15, block, 80);
  for (let group = 0; group < 16; group++) {
    block[group] = scales[group] | (mins[group] << 4);
    const { byte, shift } = twoBitsOfGroup(group);
    const quants = affineQuants(
      groups[group],
      d * scales[group],
      dmin * mins[group],
      3,
    );
    orBits(block, 16 + byte, quants, shift);
  }
}

/** Writes a block of Q3_K. */
export function quantiseQ3_K(values: Float32Array, block: Uint8Array): void {
  const groups = groupsOf(values, 16);
  const fits = groups.map((group) => fitScale(group, 4));
  const { d, scales } = storeScales(fits, 32, block, 108);
  for (let group = 0; group < 16; group++) {
    const stored = scales[group] + 32;
    block[96 + (group & 7)] |= (stored & 15) << (group < 8 ? 0 : 4);
    block[104 + (group & 3)] |= (stored >> 4) << (2 * (group >> 2));
    const { byte, shift } = twoBitsOfGroup(group);
    const quants = scaledQuants(
      groups[group],
      d * scales[group],
      4,
    );
    orBits(block, 32 + byte, quants.map((q) => q & 3), shift);
    orBits(block, byte & 16, quants.map((q) => q >> 2), group >> 1);
  }
}

/** Writes a block of Q4_K. */
export function quantiseQ4_K(values: Float32Array, block: Uint8Array): void {
  const quants = quantiseGroupsOf32(values, block, 15);
  for (let group = 0; group < 8; group++) {
    const { byte, shift } = nibblesOfGroup(group);
    orBits(block, 16 + byte, quants[group], shift);
  }
}

/** Writes a block of Q5_K. */
export function quantiseQ5_K(values: Float32Array, block: Uint8Array): void {
  const quants = quantiseGroupsOf32(values, block, 31);
  for (let group = 0; group < 8; group++) {
    const { byte, shift } = nibblesOfGroup(group);
    orBits(block, 48 + byte, quants[group].map((q) => q & 15), shift);
    orBits(block, 16, quants[group].map((q) => q >> 4), group);
  }
}

/** Writes a block of Q6_K. */
export function quantiseQ6_K(values: Float32Array, block: Uint8Array): void {
  const groups = groupsOf(values, 16);
  const fits = groups.map((group) => fitScale(group, 32));
  const { d, scales } = storeScales(fits, 128, block, 208);
  for (let group = 0; group < 16; group++) {
    block[192 + group] = scales[group];
    const { nibbles, nibbleShift, pairs, pairShift } = sixBitsOfGroup(group);
    const quants = scaledQuants(
      groups[group],
      d * scales[group],
      32,
    );
    orBits(block, nibbles, quants.map((q) => q & 15), nibbleShift);
    orBits(block, 128 + pairs, quants.map((q) => q >> 4), pairShift);
  }
}

/** The common part of Q4_K and Q5_K: d, dmin, 12 bytes of scales and minimums. */
function quantiseGroupsOf32(
  values: Float32Array,
  block: Uint8Array,
  largest: number,
): Uint8Array[] {
  const groups = groupsOf(values, 32);
  const fits = groups.map((group) => fitAffine(group, largest));
  const { d, dmin, scales, mins } = storeAffine(fits, 63, block, 0);
  for (let group = 0; group < 8; group++) {
    const scale = scales[group];
    const min = mins[group];
    if (group < 4) {
      block[4 + group] |= scale;
      block[8 + group] |= min;
    } else {
      block[8 + group] |= (scale & 15) | ((min & 15) << 4);
      block[group] |= (scale >> 4) << 6;
      block[4 + group] |= (min >> 4) << 6;
    }
  }
  return groups.map((group, index) =>
    affineQuants(group, d * scales[index], dmin * mins[index], largest)
  );
}

/** Rounds scales and minimums to 0..`largest` under two f16 at `offset`. */
function storeAffine(
  fits: readonly AffineFit[],
  largest: number,
  block: Uint8Array,
  offset: number,
): { d: number; dmin: number; scales: number[]; mins: number[] } {
  const store = (reals: number[], at: number) => {
    const unit = writeHalf(block, at, Math.max(...reals) / largest);
    const integers = reals.map((real) =>
      unit === 0 ? 0 : clamp(nearest(real / unit), 0, largest)
    );
    return { unit, integers };
  };
  const scales = store(fits.map((fit) => fit.scale), offset);
  const mins = store(fits.map((fit) => fit.min), offset + 2);
  return {
    d: scales.unit,
    dmin: mins.unit,
    scales: scales.integers,
    mins: mins.integers,
  };
}

/** Rounds scales to −`lowest`..`lowest` − 1 under an f16 at `offset`. */
function storeScales(
  reals: readonly number[],
  lowest: number,
  block: Uint8Array,
  offset: number,
): { d: number; scales: number[] } {
  const d = writeHalf(block, offset, largestMagnitude(reals) / -lowest);
  const scales = reals.map((real) =>
    d === 0 ? 0 : clamp(nearest(real / d), -lowest, lowest - 1)
  );
  return { d, scales };
}

/** The nearest q in 0..`largest`, where a weight is scale · q − min. */
function affineQuants(
  values: Float32Array,
  scale: number,
  min: number,
  largest: number,
): Uint8Array {
  const quants = new Uint8Array(values.length);
  if (scale === 0) return quants;
  for (let i = 0; i < quants.length; i++) {
    quants[i] = clamp(nearest((values[i] + min) / scale), 0, largest);
  }
  return quants;
}

/** The nearest q in 0..2 · `middle` − 1, where a weight is scale · (q − middle). */
function scaledQuants(
  values: Float32Array,
  scale: number,
  middle: number,
): Uint8Array {
  const quants = new Uint8Array(values.length).fill(middle);
  if (scale === 0) return quants;
  for (let i = 0; i < quants.length; i++) {
    quants[i] += clamp(nearest(values[i] / scale), -middle, middle - 1);
  }
  return quants;
}

function groupsOf(values: Float32Array, size: number): Float32Array[] {
  return Array.from(
    { length: values.length / size },
    (_, group) => values.subarray(group * size, (group + 1) * size),
  );
}

function orBits(
  block: Uint8Array,
  offset: number,
  quants: Uint8Array,
  shift: number,
): void {
  for (let j = 0; j < quants.length; j++) {
    block[offset + j] |= quants[j] << shift;
  }
}

function clamp(value: number, lowest: number, highest: number): number {
  return Math.min(highest, Math.max(lowest, value));
}
