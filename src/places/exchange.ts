/**
 * What places do where they meet, for places that share a thread. Threads do
 * the same over shared memory in `cpu/shared.ts`.
 *
 * @module
 */
import type { Batch } from "./batch.ts";
import type { Exchange, Place } from "./place.ts";

/** Does one exchange among `places`; `top-k` keeps the largest `share`. */
export function exchange(
  kind: Exchange,
  places: readonly Place[],
  batch: Batch,
  share: number,
): void {
  if (kind === "sum") {
    const partials = places.map((place) => place.partial(batch));
    for (const place of places) {
      for (const partial of partials) place.accumulate(partial, batch);
    }
  } else if (kind === "top-k") {
    const values = places.map((place) => place.neurons(batch));
    const thresholds = Float32Array.from(
      { length: batch.length },
      (_, t) => topKThreshold(values.map(({ rows }) => rows[t]), share),
    );
    for (const place of places) place.keepAbove(batch, thresholds);
  }
}

/**
 * The largest |h| that is dropped when the largest `share` of all values is
 * kept: what is above it stays. -1 where nothing is dropped.
 */
export function topKThreshold(
  values: readonly Float32Array[],
  share: number,
): number {
  const count = values.reduce((sum, part) => sum + part.length, 0);
  const magnitudes = new Float32Array(count);
  let filled = 0;
  for (const part of values) {
    for (const value of part) magnitudes[filled++] = Math.abs(value);
  }
  magnitudes.sort();
  const kept = Math.ceil(share * count);
  return kept < count ? magnitudes[count - kept - 1] : -1;
}
