/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864), interleaved:
 * elements 2i and 2i + 1 of a head turn by position · frequency(i).
 *
 * @module
 */
import type { Model } from "./model.ts";

/**
 * The angle, in radians, by which each of the `ropeSize / 2` pairs turns per
 * position: base^(-2i / ropeSize), divided by the linear scale and, where the
 * file has `rope_freqs`, by its factor.
 */
export function ropeFrequencies(
  model: Model,
  factors?: Float32Array,
): Float64Array {
  return Float64Array.from(
    { length: model.ropeSize / 2 },
    (_, i) =>
      model.ropeBase ** (-2 * i / model.ropeSize) /
      model.ropeScale / (factors?.[i] ?? 1),
  );
}

/** Writes (cos, sin) of each pair's angle at `position` into `out`, `2 · frequencies.length` long. */
export function ropeAngles(
  frequencies: Float64Array,
  position: number,
  out: Float32Array,
): void {
  for (let i = 0; i < frequencies.length; i++) {
    const angle = position * frequencies[i];
    out[2 * i] = Math.cos(angle);
    out[2 * i + 1] = Math.sin(angle);
  }
}
