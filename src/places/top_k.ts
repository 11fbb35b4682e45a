/** Which neurons mode `top-k` keeps. */
import type { Sparsity } from "../plan/sparsity.ts";
import type { Batch } from "./batch.ts";

/**
 * A layer's {@linkcode topKThreshold} of each token, of whose `count` values h
 * `valuesOf` gives all: the mode's share is kept, or the token's own.
 */
export function topKThresholds(
  batch: Batch,
  layer: number,
  sparsity: Sparsity,
  valuesOf: (token: number) => readonly Float32Array[],
  count: number,
): Float32Array {
  const share = sparsity.mode === "top-k" ? sparsity.share : 1;
  return Float32Array.from(
    { length: batch.length },
    (_, t) =>
      topKThreshold(valuesOf(t), batch.modeValueOf(layer, t, share), count),
  );
}

/**
 * The largest |h| that is dropped when the largest `share` of all values is
 * kept: what is above it stays. -1 where nothing is dropped. Of the `count`
 * values some that are zero may be there twice.
 */
export function topKThreshold(
  values: readonly Float32Array[],
  share: number,
  count: number = values.reduce((sum, part) => sum + part.length, 0),
): number {
  const kept = Math.ceil(share * count);
  if (kept >= count) return -1;
  // Most are zero, and need no sorting.
  const magnitudes = new Float32Array(count);
  let filled = 0;
  for (const part of values) {
    for (const value of part) {
      if (value !== 0) magnitudes[filled++] = Math.abs(value);
    }
  }
  return kept < filled
    ? magnitudes.subarray(0, filled).sort()[filled - kept - 1]
    : 0;
}
