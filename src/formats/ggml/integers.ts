/** 32 weights as small integers: weight i is `scale[i >> 4] * q[i] + min[i >> 4]`. */
export interface Integers {
  readonly q: Int8Array;
  /** Of the first 16 weights, and of the others: exact in f32 */
  readonly scale: Float64Array;
  /** The same; -0 where the type has none, which changes no product */
  readonly min: Float64Array;
}

/** Room for 32 weights. */
export function makeIntegers(): Integers {
  return {
    q: new Int8Array(32),
    scale: new Float64Array(2),
    min: new Float64Array(2).fill(-0),
  };
}

/** Reads weights 32 · `part` to 32 · `part` + 31 of the block that begins at `offset`. */
export type ReadIntegers = (
  bytes: Uint8Array,
  offset: number,
  part: number,
  out: Integers,
) => void;

/** The 16-bit number at `offset`. */
export function wordAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] | (bytes[offset + 1] << 8);
}

/** The 32-bit number at `offset`. */
export function doubleWordAt(bytes: Uint8Array, offset: number): number {
  return (wordAt(bytes, offset) | (wordAt(bytes, offset + 2) << 16)) >>> 0;
}
