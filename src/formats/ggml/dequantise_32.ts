/**
 * Readers of the types whose blocks hold 32 weights under one scale. In the
 * types of 4 and 5 bits, byte j holds weight j in its low nibble and weight
 * j + 16 in its high one.
 */
import { halfToFloat } from "./half.ts";
import type { Type32 } from "./types.ts";

/**
 * Reads one block, which begins at `offset` in `bytes`, into its weights,
 * which begin at `first` in `out`.
 */
export type DequantiseBlock = (
  bytes: Uint8Array,
  offset: number,
  out: Float32Array,
  first: number,
) => void;

/** By type. */
export const dequantise32: Readonly<Record<Type32, DequantiseBlock>> = {
  /** Block: d f16, 16 bytes of nibbles. Weight: d · (q − 8). */
  Q4_0(bytes, offset, out, first) {
    const d = halfAt(bytes, offset);
    for (let j = 0; j < 16; j++) {
      const nibbles = bytes[offset + 2 + j];
      out[first + j] = d * ((nibbles & 15) - 8);
      out[first + j + 16] = d * ((nibbles >> 4) - 8);
    }
  },
  /** Block: d f16, m f16, 16 bytes of nibbles. Weight: d · q + m. */
  Q4_1(bytes, offset, out, first) {
    const d = halfAt(bytes, offset);
    const m = halfAt(bytes, offset + 2);
    for (let j = 0; j < 16; j++) {
      const nibbles = bytes[offset + 4 + j];
      out[first + j] = d * (nibbles & 15) + m;
      out[first + j + 16] = d * (nibbles >> 4) + m;
    }
  },
  /** Block: d f16, 32 fifth bits, 16 bytes of nibbles. Weight: d · (q − 16). */
  Q5_0(bytes, offset, out, first) {
    const d = halfAt(bytes, offset);
    for (let j = 0; j < 32; j++) {
      out[first + j] = d * (fiveBits(bytes, offset + 2, j) - 16);
    }
  },
  /** Block: d f16, m f16, 32 fifth bits, 16 bytes of nibbles. Weight: d · q + m. */
  Q5_1(bytes, offset, out, first) {
    const d = halfAt(bytes, offset);
    const m = halfAt(bytes, offset + 2);
    for (let j = 0; j < 32; j++) {
      out[first + j] = d * fiveBits(bytes, offset + 4, j) + m;
    }
  },
  /** Block: d f16, 32 i8. Weight: d · q. */
  Q8_0(bytes, offset, out, first) {
    const d = halfAt(bytes, offset);
    for (let j = 0; j < 32; j++) {
      const q = (bytes[offset + 2 + j] << 24) >> 24;
      out[first + j] = d * q;
    }
  },
};

/** The f16 at `offset`. */
export function halfAt(bytes: Uint8Array, offset: number): number {
  return halfToFloat(bytes[offset] | (bytes[offset + 1] << 8));
}

/** Value j of 32: 4 bytes of fifth bits, then 16 bytes of nibbles. */
function fiveBits(bytes: Uint8Array, offset: number, j: number): number {
  const nibbles = bytes[offset + 4 + (j & 15)];
  const low = j < 16 ? nibbles & 15 : nibbles >> 4;
  const high = (bytes[offset + (j >> 3)] >> (j & 7)) & 1;
  return low | (high << 4);
}
