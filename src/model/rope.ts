/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864), interleaved:
 * elements 2i and 2i + 1 of a head turn by position · frequency(i).
 */

/**
 * Which elements of a head are pair i: `interleaved` 2i and 2i + 1, `half` i and
 * i + ropeSize / 2 (GPT-NeoX's, arXiv 2204.06745). Places compute the first
 * alone: rows of the second are put into its order while they are read, which
 * leaves products of queries and keys as they are.
 */
export type Rope = "interleaved" | "half";

/** Where element i of a head goes, so that its `half` pairs lie side by side; elements behind `ropeSize` stay. */
export function interleavedPlace(i: number, ropeSize: number): number {
  const half = ropeSize / 2;
  if (i >= ropeSize) return i;
  return i < half ? 2 * i : 2 * (i - half) + 1;
}

/**
 * The angle, in radians, by which each of the `ropeSize / 2` pairs turns per
 * position: base^(-2i / ropeSize), divided by the linear scale and, where the
 * file has `rope_freqs`, by its factor.
 */
export function ropeFrequencies(
  { ropeSize, ropeBase, ropeScale }: {
    readonly ropeSize: number;
    readonly ropeBase: number;
    readonly ropeScale: number;
  },
  factors?: Float32Array,
): Float64Array {
  return Float64Array.from(
    { length: ropeSize / 2 },
    (_, i) => ropeBase ** (-2 * i / ropeSize) / ropeScale / (factors?.[i] ?? 1),
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
