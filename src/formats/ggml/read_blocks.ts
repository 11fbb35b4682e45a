/** Readers of types with blocks of 32 weights under one scale, and of K types. */
import { halfAt } from "./dequantise_32.ts";
import {
  nibblesOfGroup,
  sixBitScaleAndMin,
  twoBitsOfGroup,
} from "./dequantise_k.ts";
import type { ReadIntegers } from "./integers.ts";

/** By type. In those of 32 weights byte j has weight j in its low nibble, weight j + 16 in its high one. */
export const readBlocks = {
  /** Block: d f16, m f16, 16 bytes of nibbles. Weight: d · q + m. */
  Q4_1(bytes, offset, _part, { q, scale, min }) {
    scale.fill(halfAt(bytes, offset));
    min.fill(halfAt(bytes, offset + 2));
    for (let j = 0; j < 16; j++) {
      const nibbles = bytes[offset + 4 + j];
      q[j] = nibbles & 15;
      q[j + 16] = nibbles >> 4;
    }
  },
  /** Block: d f16, 32 fifth bits, 16 bytes of nibbles. Weight: d · (q − 16). */
  Q5_0(bytes, offset, _part, { q, scale }) {
    scale.fill(halfAt(bytes, offset));
    for (let j = 0; j < 32; j++) q[j] = fiveBits(bytes, offset + 2, j) - 16;
  },
  /** Block: d f16, m f16, 32 fifth bits, 16 bytes of nibbles. Weight: d · q + m. */
  Q5_1(bytes, offset, _part, { q, scale, min }) {
    scale.fill(halfAt(bytes, offset));
    min.fill(halfAt(bytes, offset + 2));
    for (let j = 0; j < 32; j++) q[j] = fiveBits(bytes, offset + 4, j);
  },
  /**
   * Block: 16 bytes with a scale and a minimum in 4 bits each, 64 bytes of 2-bit
   * values, d f16, dmin f16. Weight: d · scale · q − dmin · minimum.
   */
  Q2_K(bytes, offset, part, { q, scale, min }) {
    const d = halfAt(bytes, offset + 80);
    const dmin = halfAt(bytes, offset + 82);
    for (let half = 0; half < 2; half++) {
      const group = 2 * part + half;
      const scaleAndMin = bytes[offset + group];
      scale[half] = d * (scaleAndMin & 15);
      min[half] = -(dmin * (scaleAndMin >> 4));
      const { byte, shift } = twoBitsOfGroup(group);
      for (let j = 0; j < 16; j++) {
        q[16 * half + j] = (bytes[offset + 16 + byte + j] >> shift) & 3;
      }
    }
  },
  /**
   * Block: 32 bytes of third bits, 64 bytes of 2-bit values, 12 bytes of 6-bit
   * scales, d f16. Weight: d · (scale − 32) · (q − 4).
   */
  Q3_K(bytes, offset, part, { q, scale }) {
    const d = halfAt(bytes, offset + 108);
    for (let half = 0; half < 2; half++) {
      const group = 2 * part + half;
      scale[half] = d * (sixBitScale(bytes, offset + 96, group) - 32);
      const { byte, shift } = twoBitsOfGroup(group);
      for (let j = 0; j < 16; j++) {
        const low = (bytes[offset + 32 + byte + j] >> shift) & 3;
        const high = (bytes[offset + (byte & 16) + j] >> part) & 1;
        q[16 * half + j] = (low | (high << 2)) - 4;
      }
    }
  },
  /**
   * Block: d f16, dmin f16, 12 bytes of 6-bit scales and minimums, 32 bytes of
   * fifth bits, 128 bytes of nibbles. Weight: d · scale · q − dmin · minimum.
   */
  Q5_K(bytes, offset, part, { q, scale, min }) {
    const [code, minimum] = sixBitScaleAndMin(bytes, offset + 4, part);
    scale.fill(halfAt(bytes, offset) * code);
    min.fill(-(halfAt(bytes, offset + 2) * minimum));
    const { byte, shift } = nibblesOfGroup(part);
    for (let j = 0; j < 32; j++) {
      const low = (bytes[offset + 48 + byte + j] >> shift) & 15;
      const high = (bytes[offset + 16 + j] >> part) & 1;
      q[j] = low | (high << 4);
    }
  },
} satisfies Readonly<Record<string, ReadIntegers>>;

/** Value j of 32: 4 bytes of fifth bits, then 16 bytes of nibbles. */
function fiveBits(bytes: Uint8Array, offset: number, j: number): number {
  const nibbles = bytes[offset + 4 + (j & 15)];
  const low = j < 16 ? nibbles & 15 : nibbles >> 4;
  const high = (bytes[offset + (j >> 3)] >> (j & 7)) & 1;
  return low | (high << 4);
}

/** Q3_K's scale of a group: low four bits in bytes 0 to 7, upper pairs in bytes 8 to 11. */
function sixBitScale(bytes: Uint8Array, offset: number, group: number): number {
  const low = (bytes[offset + (group & 7)] >> (group < 8 ? 0 : 4)) & 15;
  const high = (bytes[offset + 8 + (group & 3)] >> (2 * (group >> 2))) & 3;
  return low | (high << 4);
}
