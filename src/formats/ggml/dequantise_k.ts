/**
 * Readers of K types, whose blocks of 256 weights are cut into groups that have
 * small integer scales of their own under one f16 scale: those that are converted
 * most, to f32 at once.
 */
import { type DequantiseBlock, halfAt } from "./dequantise_32.ts";

/** By type. */
export const dequantiseK: Readonly<Record<"Q4_K" | "Q6_K", DequantiseBlock>> = {
  /**
   * Block: d f16, dmin f16, 12 bytes of 6-bit scales and minimums, 128 bytes of
   * nibbles. Weight: d · scale · q − dmin · minimum.
   */
  Q4_K(bytes, offset, out, first) {
    const d = halfAt(bytes, offset);
    const dmin = halfAt(bytes, offset + 2);
    for (let group = 0; group < 8; group++) {
      const [scale, min] = sixBitScaleAndMin(bytes, offset + 4, group);
      const { byte, shift } = nibblesOfGroup(group);
      for (let j = 0; j < 32; j++) {
        const q = (bytes[offset + 16 + byte + j] >> shift) & 15;
        out[first + 32 * group + j] = d * scale * q - dmin * min;
      }
    }
  },
  /**
   * Block: 128 bytes of nibbles, 64 bytes of upper bit pairs, 16 i8 scales,
   * d f16. Weight: d · scale · (q − 32).
   */
  Q6_K(bytes, offset, out, first) {
    const d = halfAt(bytes, offset + 208);
    for (let group = 0; group < 16; group++) {
      const scale = d * ((bytes[offset + 192 + group] << 24) >> 24);
      const { nibbles, nibbleShift, pairs, pairShift } = sixBitsOfGroup(group);
      for (let j = 0; j < 16; j++) {
        const low = (bytes[offset + nibbles + j] >> nibbleShift) & 15;
        const high = (bytes[offset + 128 + pairs + j] >> pairShift) & 3;
        out[first + 16 * group + j] = scale * ((low | (high << 4)) - 32);
      }
    }
  },
};

/**
 * Where Q2_K and Q3_K keep the low bits of a group of 16. Each half of the
 * block has 32 bytes, and a byte has the bits of weights j, j + 32, j + 64
 * and j + 96 of its half.
 */
export function twoBitsOfGroup(
  group: number,
): { byte: number; shift: number } {
  return {
    byte: 32 * (group >> 3) + 16 * (group & 1),
    shift: 2 * ((group >> 1) & 3),
  };
}

/** Where Q4_K and Q5_K keep the low bits of a group of 32: two groups share bytes. */
export function nibblesOfGroup(
  group: number,
): { byte: number; shift: number } {
  return { byte: 32 * (group >> 1), shift: 4 * (group & 1) };
}

/**
 * Where Q6_K keeps a group of 16. Each half of the block has 64 bytes of
 * nibbles (weights j and j + 64 share a byte) and 32 bytes of bit pairs
 * (weights j, j + 32, j + 64 and j + 96 share a byte).
 */
export function sixBitsOfGroup(
  group: number,
): { nibbles: number; nibbleShift: number; pairs: number; pairShift: number } {
  const half = group >> 3;
  return {
    nibbles: 64 * half + 16 * (group & 3),
    nibbleShift: 4 * ((group >> 2) & 1),
    pairs: 32 * half + 16 * (group & 1),
    pairShift: 2 * ((group >> 1) & 3),
  };
}

/**
 * Q4_K's and Q5_K's scale and minimum of a group: those of groups 0 to 3 fill
 * the low six bits of bytes 0 to 7; groups 4 to 7 have their low four bits in
 * bytes 8 to 11 and their upper pairs above the first eight.
 */
export function sixBitScaleAndMin(
  bytes: Uint8Array,
  offset: number,
  group: number,
): [scale: number, min: number] {
  if (group < 4) {
    return [bytes[offset + group] & 63, bytes[offset + group + 4] & 63];
  }
  const low = bytes[offset + group + 4];
  return [
    (low & 15) | ((bytes[offset + group - 4] >> 6) << 4),
    (low >> 4) | ((bytes[offset + group] >> 6) << 4),
  ];
}
