/**
 * Writers of the K types. Each group of weights first gets a real scale (and
 * minimum) by least squares; these are rounded to small integers under the
 * block's f16 scale; then the weights are rounded under what was stored.
 */
import {
  nibblesOfGroup,
  sixBitsOfGroup,
  twoBitsOfGroup,
} from "./dequantise_k.ts";
import { type AffineFit, clamp, fitAffine, fitScale, nearest } from "./fit.ts";
import { largestMagnitude, writeHalf } from "./quantise_32.ts";
import type { TypeK } from "./types.ts";

/**
 * By type; each takes the 256 weights of a block, and its bytes, which are zero
 * before. The layouts are described at the readers.
 */
export const quantiseK: Readonly<
  Record<TypeK, (values: Float32Array, block: Uint8Array) => void>
> = {
  Q2_K(values, block) {
    const groups = groupsOf(values, 16);
    const fits = groups.map((group) => fitAffine(group, 3));
    const { d, dmin, scales, mins } = storeAffine(fits, 15, block, 80);
    for (let group = 0; group < 16; group++) {
      block[group] = scales[group] | (mins[group] << 4);
      const { byte, shift } = twoBitsOfGroup(group);
      const scale = d * scales[group], min = dmin * mins[group];
      const quants = quantsOf(groups[group], scale, min, 0, 3);
      orBits(block, 16 + byte, quants, shift);
    }
  },
  Q3_K(values, block) {
    const groups = groupsOf(values, 16);
    const fits = groups.map((group) => fitScale(group, 4));
    const unit = largestMagnitude(fits) / -32;
    const { d, scales } = storeScales(fits, unit, -32, 31, block, 108);
    for (let group = 0; group < 16; group++) {
      const stored = scales[group] + 32;
      block[96 + (group & 7)] |= (stored & 15) << (group < 8 ? 0 : 4);
      block[104 + (group & 3)] |= (stored >> 4) << (2 * (group >> 2));
      const { byte, shift } = twoBitsOfGroup(group);
      const scale = d * scales[group];
      const quants = quantsOf(groups[group], scale, 0, -4, 3);
      orBits(block, 32 + byte, quants.map((q) => q & 3), shift);
      orBits(block, byte & 16, quants.map((q) => q >> 2), group >> 1);
    }
  },
  Q4_K(values, block) {
    const quants = quantiseGroupsOf32(values, block, 15);
    for (let group = 0; group < 8; group++) {
      const { byte, shift } = nibblesOfGroup(group);
      orBits(block, 16 + byte, quants[group], shift);
    }
  },
  Q5_K(values, block) {
    const quants = quantiseGroupsOf32(values, block, 31);
    for (let group = 0; group < 8; group++) {
      const { byte, shift } = nibblesOfGroup(group);
      orBits(block, 48 + byte, quants[group].map((q) => q & 15), shift);
      orBits(block, 16, quants[group].map((q) => q >> 4), group);
    }
  },
  Q6_K(values, block) {
    const groups = groupsOf(values, 16);
    const fits = groups.map((group) => fitScale(group, 32));
    const unit = largestMagnitude(fits) / -128;
    const { d, scales } = storeScales(fits, unit, -128, 127, block, 208);
    for (let group = 0; group < 16; group++) {
      block[192 + group] = scales[group];
      const { nibbles, nibbleShift, pairs, pairShift } = sixBitsOfGroup(group);
      const scale = d * scales[group];
      const quants = quantsOf(groups[group], scale, 0, -32, 31);
      orBits(block, nibbles, quants.map((q) => q & 15), nibbleShift);
      orBits(block, 128 + pairs, quants.map((q) => q >> 4), pairShift);
    }
  },
};

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
    quantsOf(group, d * scales[index], dmin * mins[index], 0, largest)
  );
}

/** Rounds scales and minimums to 0..`largest` under two f16 at `offset`. */
function storeAffine(
  fits: readonly AffineFit[],
  largest: number,
  block: Uint8Array,
  offset: number,
) {
  const store = (reals: number[], at: number) =>
    storeScales(reals, Math.max(...reals) / largest, 0, largest, block, at);
  const { d, scales } = store(fits.map((fit) => fit.scale), offset);
  const { d: dmin, scales: mins } = store(
    fits.map((fit) => fit.min),
    offset + 2,
  );
  return { d, dmin, scales, mins };
}

/** Rounds numbers to `lowest`..`highest` under `unit`, which is stored as an f16 at `offset`. */
function storeScales(
  reals: readonly number[],
  unit: number,
  lowest: number,
  highest: number,
  block: Uint8Array,
  offset: number,
): { d: number; scales: number[] } {
  const d = writeHalf(block, offset, unit);
  const scales = reals.map((real) =>
    d === 0 ? 0 : clamp(nearest(real / d), lowest, highest)
  );
  return { d, scales };
}

/** The nearest q in 0..`highest` − `lowest`, where a weight is scale · (q + lowest) − min. */
function quantsOf(
  values: Float32Array,
  scale: number,
  min: number,
  lowest: number,
  highest: number,
): Uint8Array {
  const quants = new Uint8Array(values.length).fill(-lowest);
  if (scale === 0) return quants;
  for (let i = 0; i < quants.length; i++) {
    quants[i] += clamp(nearest((values[i] + min) / scale), lowest, highest);
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
