/** Random weights in the types that culm reads and does not write: any bits are weights, once the scale is given. */
import { dequantise } from "./dequantise.ts";
import { floatToHalf } from "./half.ts";
import { ggmlTypes, type ReadType, rowBytes } from "./types.ts";

/** Writes the scale of the block that begins at `offset`, or the nearest that the type has. */
type PutScale = (bytes: Uint8Array, offset: number, scale: number) => void;

/** An f16 number `at` bytes behind the block's begin. */
const halfAt = (at: number): PutScale => (bytes, offset, scale) => {
  const half = floatToHalf(scale);
  bytes[offset + at] = half;
  bytes[offset + at + 1] = half >> 8;
};

/** By type. */
export const putScale: Readonly<Record<ReadType, PutScale>> = {
  IQ4_NL: halfAt(0),
  IQ4_XS: halfAt(0),
  MXFP4(bytes, offset, scale) {
    bytes[offset] = 128 + exponentOf(scale, -128, 126);
  },
  NVFP4(bytes, offset, scale) {
    bytes.fill(7 + exponentOf(scale, -6, 7) << 3, offset, offset + 4);
  },
  TQ1_0: halfAt(52),
  TQ2_0: halfAt(64),
  Q1_0: halfAt(0),
  Q2_0: halfAt(0),
  IQ1_S: halfAt(0),
  IQ1_M(bytes, offset, scale) {
    const half = floatToHalf(scale);
    for (let i = 0; i < 4; i++) {
      const at = offset + 49 + 2 * i;
      bytes[at] = bytes[at] & 15 | (half >> 4 * i & 15) << 4;
    }
  },
  IQ2_XXS: halfAt(0),
  IQ2_XS: halfAt(0),
  IQ2_S: halfAt(0),
  IQ3_XXS: halfAt(0),
  IQ3_S: halfAt(0),
};

/** The exponent of the nearest power of two, from `least` to `most`. */
function exponentOf(value: number, least: number, most: number): number {
  const exponent = Math.round(Math.log2(Math.abs(value)));
  return Math.max(least, Math.min(most, exponent));
}

/** `count` random weights of mean square `size`², about. */
export function randomBlocks(
  type: ReadType,
  count: number,
  size: number,
  random: () => number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(rowBytes(type, count)).map(() => 256 * random());
  const { blockBytes } = ggmlTypes[type];
  const scaled = (scale: number) => {
    for (let at = 0; at < bytes.length; at += blockBytes) {
      putScale[type](bytes, at, scale);
    }
  };
  scaled(1);
  const weights = new Float32Array(count);
  dequantise(type, bytes, weights);
  const squares = weights.reduce((sum, weight) => sum + weight * weight, 0);
  scaled(size * Math.sqrt(count / squares));
  return bytes;
}
