/** Weights that are not finite: kernels take them as integers and scales, and may make numbers of them. */
import { type GgmlType, ggmlTypes } from "./types.ts";

/** A word of 16 bits of a block, and its bits that are all set where the block has an infinity or NaN. */
type Exponent = readonly [word: number, bits: number];

const halves = (...words: number[]): Exponent[] =>
  words.map((word) => [word, 0x7c00]);

/** By type: of its scales and minimums, or of the weight itself. */
const exponents: Readonly<Record<GgmlType, readonly Exponent[]>> = {
  F32: [[1, 0x7f80]],
  BF16: [[0, 0x7f80]],
  F16: halves(0),
  Q4_0: halves(0),
  Q4_1: halves(0, 1),
  Q5_0: halves(0),
  Q5_1: halves(0, 1),
  Q8_0: halves(0),
  Q2_K: halves(40, 41),
  Q3_K: halves(54),
  Q4_K: halves(0, 1),
  Q5_K: halves(0, 1),
  Q6_K: halves(104),
  IQ4_NL: halves(0),
  IQ4_XS: halves(0),
  // Its exponents are bytes.
  MXFP4: [],
  // Its NaN is 0, as in ggml.
  NVFP4: [],
  TQ1_0: halves(26),
  TQ2_0: halves(32),
  Q1_0: halves(0),
  Q2_0: halves(0),
  IQ1_S: halves(0),
  // The upper quarter of its half; the next one has the other two bits of the exponent.
  IQ1_M: [[27, 0x7000]],
  IQ2_XXS: halves(0),
  IQ2_XS: halves(0),
  IQ2_S: halves(0),
  IQ3_XXS: halves(0),
  IQ3_S: halves(0),
};

/** A block of `bytes`, which are whole ones, with a weight that is not finite. */
export function blockNotFinite(
  type: GgmlType,
  bytes: Uint8Array<ArrayBuffer>,
): number | undefined {
  const { blockBytes } = ggmlTypes[type];
  if (type === "MXFP4") {
    for (let at = 0; at < bytes.length; at += blockBytes) {
      if (bytes[at] === 255) return at / blockBytes;
    }
    return undefined;
  }
  const { buffer, byteOffset, length } = bytes.byteOffset % 2 === 0
    ? bytes
    : bytes.slice();
  const words = new Uint16Array(buffer, byteOffset, length / 2);
  const step = blockBytes / 2;
  for (const [word, bits] of exponents[type]) {
    for (let i = word; i < words.length; i += step) {
      if ((words[i] & bits) !== bits) continue;
      if (type === "IQ1_M" && words[i - 1] < 0xc000) continue;
      return (i - word) / step;
    }
  }
}
