/**
 * Readers of types whose blocks hold 32 weights under one scale: those that are
 * converted most, to f32 at once.
 */
import { halfToFloat } from "./half.ts";

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
export const dequantise32: Readonly<Record<"Q4_0" | "Q8_0", DequantiseBlock>> =
  {
    /**
     * Block: d f16, 16 bytes of nibbles, weight j in the low one of byte j, weight
     * j + 16 in its high one. Weight: d · (q − 8).
     */
    Q4_0(bytes, offset, out, first) {
      const d = halfAt(bytes, offset);
      for (let j = 0; j < 16; j++) {
        const nibbles = bytes[offset + 2 + j];
        out[first + j] = d * ((nibbles & 15) - 8);
        out[first + j + 16] = d * ((nibbles >> 4) - 8);
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
