/**
 * The two 16-bit float formats, to and from f32: one number, or many weights at a
 * time.
 */

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** The value of an IEEE binary16 number, given as its 16 bits. */
export function halfToFloat(half: number): number {
  const magnitude = half & 0x7fff;
  const sign = half & 0x8000 ? -1 : 1;
  if (magnitude > 0x7c00) return NaN;
  if (magnitude === 0x7c00) return sign * Infinity;
  // The same bits read as f32 have an exponent that is too small by 112,
  // for subnormal numbers too.
  bits[0] = magnitude << 13;
  return sign * float[0] * 2 ** 112;
}

/** The 16 bits of the nearest binary16 number, ties to even. */
export function floatToHalf(value: number): number {
  float[0] = value;
  const sign = (bits[0] >>> 16) & 0x8000;
  const magnitude = Math.abs(float[0]);
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  // 65520 is half-way between the largest half, 65504, and the next power of two.
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundTiesToEven(magnitude * 2 ** 24);
  const rebased = (bits[0] & 0x7fffffff) - (112 << 23);
  return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
}

/** The value of a bfloat16 number: the upper half of an f32. */
export function bfloat16ToFloat(bfloat16: number): number {
  bits[0] = bfloat16 << 16;
  return float[0];
}

/** The 16 bits of the nearest bfloat16 number, ties to even; NaN stays NaN. */
export function floatToBfloat16(value: number): number {
  float[0] = value;
  if (Number.isNaN(value)) return (bits[0] >>> 16) | 0x40;
  return (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) >>> 16;
}

/** Rounds a number below 2^51: f64 has no fraction bits left above 2^52. */
function roundTiesToEven(value: number): number {
  return value + 2 ** 52 - 2 ** 52;
}

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
