/**
 * What the KV cache keeps of keys and values.
 *
 * @module
 */
import { dequantise } from "../../formats/ggml/dequantise.ts";
import { quantise } from "../../formats/ggml/quantise.ts";
import { ggmlTypes } from "../../formats/ggml/types.ts";
import type { CacheType } from "../cache_type.ts";

/** Stores heads of `headSize` elements, each padded to whole blocks, and reads them back. */
export function asCached(
  cacheType: CacheType,
  heads: Float32Array,
  headSize: number,
): Float32Array {
  const type = ({ f32: "F32", f16: "F16", q8_0: "Q8_0" } as const)[cacheType];
  const { blockSize } = ggmlTypes[type];
  const out = new Float32Array(heads.length);
  const head = new Float32Array(Math.ceil(headSize / blockSize) * blockSize);
  for (let start = 0; start < heads.length; start += headSize) {
    head.fill(0).set(heads.subarray(start, start + headSize));
    dequantise(type, quantise(type, head), head);
    out.set(head.subarray(0, headSize), start);
  }
  return out;
}
