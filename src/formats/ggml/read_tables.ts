/**
 * Readers of the types whose weights are nibbles that number a table of 16
 * integers, and of those with one or two bits a weight, or digits of base 3.
 */
import { halfAt } from "./dequantise_32.ts";
import { type ReadIntegers, wordAt } from "./integers.ts";
import type { TypeTable, TypeTernary } from "./types.ts";

/** IQ4_NL and IQ4_XS: denser around 0, as weights are (ggml's `kvalues_iq4nl`). */
// deno-fmt-ignore
export const iq4Table = Int8Array.of(
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
);

/** The numbers of E2M1 (OCP Microscaling Formats 1.0), times 2. */
// deno-fmt-ignore
export const fp4Table = Int8Array.of(
  0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
);

/** By type. */
export const readTables: Readonly<Record<TypeTable, ReadIntegers>> = {
  /** Block: d f16, 16 bytes of nibbles as in Q4_0. */
  IQ4_NL(bytes, offset, _part, out) {
    out.scale.fill(halfAt(bytes, offset));
    readNibbles(bytes, offset + 2, iq4Table, out.q);
  },
  /**
   * Block: d f16, 16 upper bit pairs of scales, 4 bytes of their lower nibbles,
   * 8 times 16 bytes of nibbles. Scale: d · (scale − 32).
   */
  IQ4_XS(bytes, offset, part, out) {
    const low = bytes[offset + 4 + (part >> 1)] >> (4 * (part & 1)) & 15;
    const high = wordAt(bytes, offset + 2) >> (2 * part) & 3;
    out.scale.fill(halfAt(bytes, offset) * ((low | high << 4) - 32));
    readNibbles(bytes, offset + 8 + 16 * part, iq4Table, out.q);
  },
  /** Block: the exponent of a power of two (E8M0), 16 bytes of nibbles as in Q4_0. */
  MXFP4(bytes, offset, _part, out) {
    // Half of it, since the table has each number twice as large.
    out.scale.fill(2 ** (bytes[offset] - 128));
    readNibbles(bytes, offset + 1, fp4Table, out.q);
  },
  /** Block: 4 scales in UE4M3, 4 times 8 bytes of nibbles: weights j and j + 8. */
  NVFP4(bytes, offset, part, out) {
    for (let half = 0; half < 2; half++) {
      const group = 2 * part + half;
      out.scale[half] = ue4m3ToFloat(bytes[offset + group]) / 2;
      for (let j = 0; j < 8; j++) {
        const nibbles = bytes[offset + 4 + 8 * group + j];
        out.q[16 * half + j] = fp4Table[nibbles & 15];
        out.q[16 * half + j + 8] = fp4Table[nibbles >> 4];
      }
    }
  },
};

/** 32 weights of 16 bytes: byte j has weight j in its low nibble, and j + 16 in its high one. */
function readNibbles(
  bytes: Uint8Array,
  offset: number,
  table: Int8Array,
  q: Int8Array,
): void {
  for (let j = 0; j < 16; j++) {
    const nibbles = bytes[offset + j];
    q[j] = table[nibbles & 15];
    q[j + 16] = table[nibbles >> 4];
  }
}

/** A number without a sign, of 4 bits of exponent and 3 of mantissa; NaN is 0, as in ggml. */
function ue4m3ToFloat(code: number): number {
  if (code === 0x7f) return 0;
  const exponent = code >> 3 & 15, mantissa = code & 7;
  return exponent === 0
    ? mantissa * 2 ** -9
    : (8 + mantissa) * 2 ** (exponent - 10);
}

/** By type. */
export const readTernary: Readonly<Record<TypeTernary, ReadIntegers>> = {
  /**
   * Block: 48 bytes of 5 digits, 4 of 4 digits, d f16. Weight: d · (digit − 1).
   * Of the first 32 bytes, the next 16 and the last 4 come all first digits, all
   * second ones, and so on.
   */
  TQ1_0(bytes, offset, part, out) {
    out.scale.fill(halfAt(bytes, offset + 52));
    for (let j = 0; j < 32; j++) {
      const i = 32 * part + j;
      if (i < 160) out.q[j] = ternary(bytes[offset + (i & 31)], i >> 5);
      else if (i < 240) {
        out.q[j] = ternary(bytes[offset + 32 + (i & 15)], (i - 160) >> 4);
      } else out.q[j] = ternary(bytes[offset + 48 + (i & 3)], (i - 240) >> 2);
    }
  },
  /** Block: 64 bytes of 2-bit values, d f16. Weight: d · (q − 1). */
  TQ2_0(bytes, offset, part, out) {
    out.scale.fill(halfAt(bytes, offset + 64));
    const first = offset + 32 * (part >> 2), shift = 2 * (part & 3);
    for (let j = 0; j < 32; j++) {
      out.q[j] = (bytes[first + j] >> shift & 3) - 1;
    }
  },
  /** Block of 128: d f16, 16 bytes of bits. Weight: d where the bit is set, else −d. */
  Q1_0(bytes, offset, part, out) {
    out.scale.fill(halfAt(bytes, offset));
    for (let j = 0; j < 32; j++) {
      const bit = bytes[offset + 2 + 4 * part + (j >> 3)] >> (j & 7) & 1;
      out.q[j] = 2 * bit - 1;
    }
  },
  /** Block of 64: d f16, 16 bytes of 2-bit values. Weight: d · (q − 1). */
  Q2_0(bytes, offset, part, out) {
    out.scale.fill(halfAt(bytes, offset));
    for (let j = 0; j < 32; j++) {
      const byte = bytes[offset + 2 + 8 * part + (j >> 2)];
      out.q[j] = (byte >> (2 * (j & 3)) & 3) - 1;
    }
  },
};

const powersOf3 = [1, 3, 9, 27, 81];

/** Digit `n` of a byte that has a fraction of 256, in base 3, less 1. */
function ternary(byte: number, n: number): number {
  return ((byte * powersOf3[n] & 255) * 3 >> 8) - 1;
}
