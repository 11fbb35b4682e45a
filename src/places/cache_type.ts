/** The types in which keys and values are kept. */

/**
 * How keys and values are stored: whole, in two bytes each (halves, or on the
 * CPU integers with a scale for each position), or in ggml's blocks of 32 bytes
 * that share a scale.
 */
export type CacheType = "f32" | "f16" | "q8_0";

/** Cache types, the widest first. */
export const cacheTypes: readonly CacheType[] = ["f32", "f16", "q8_0"];

/** The elements that a head is padded to a multiple of, and the bytes of so many. */
const units = { f32: [8, 32], f16: [8, 16], q8_0: [32, 34] } as const;

/** Bytes that one position of one KV head takes, key and value together. */
export function kvPositionBytes(type: CacheType, headSize: number): number {
  const [length, bytes] = units[type];
  return 2 * bytes * Math.ceil(headSize / length);
}
