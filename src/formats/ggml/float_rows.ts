/**
 * Many weights of the float types at a time, to and from f32.
 *
 * @module
 */
import { floatToBfloat16, floatToHalf, halfToFloat } from "./half.ts";

/** The value of every half, by its bits: looking one up is faster than computing it. */
let halves: Float32Array | undefined;

/** Reads `out.length` halves. */
export function halvesToFloats(bytes: Uint8Array, out: Float32Array): void {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, i) => halfToFloat(i));
  const words = wordsOf(bytes);
  for (let i = 0; i < out.length; i++) out[i] = halves[words[i]];
}

/** Reads `out.length` bfloat16 numbers. */
export function bfloat16sToFloats(bytes: Uint8Array, out: Float32Array): void {
  const words = wordsOf(bytes);
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) bits[i] = words[i] << 16;
}

/** Stores halves, rounded as {@linkcode floatToHalf} does. `bytes` begin at an even offset. */
export function floatsToHalves(values: Float32Array, bytes: Uint8Array): void {
  const words = wordsOf(bytes);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i] & 0x7fffffff;
    // Normal halves; 0x477ff000 is 65520, which rounds to infinity.
    if (magnitude >= 113 << 23 && magnitude < 0x477ff000) {
      const rebased = magnitude - (112 << 23);
      words[i] = ((bits[i] >>> 16) & 0x8000) |
        ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
    } else words[i] = floatToHalf(values[i]);
  }
}

/** Stores bfloat16 numbers, rounded as {@linkcode floatToBfloat16} does. */
export function floatsToBfloat16s(
  values: Float32Array,
  bytes: Uint8Array,
): void {
  const words = wordsOf(bytes);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i];
    words[i] = (word & 0x7fffffff) > 0x7f800000
      ? floatToBfloat16(values[i])
      : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** Bytes as 16-bit words; copied where they begin at an odd offset. */
function wordsOf(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, bytes.length / 2);
}
