/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864), interleaved:
 * elements 2i and 2i + 1 of a head turn by position · frequency(i).
 */
import type { PerTensor } from "./schema.ts";

/**
 * Which elements of a head are pair i: `interleaved` 2i and 2i + 1, `half` i and
 * i + ropeSize / 2 (GPT-NeoX's, arXiv 2204.06745). Places compute the first
 * alone: rows of the second are put into its order while they are read, which
 * leaves products of queries and keys as they are.
 */
export type Rope = "interleaved" | "half";

/** How far positions turn the heads of a layer. */
export interface Rotation {
  /** Base of the frequencies */
  readonly base: number;
  /** Positions are divided by this */
  readonly scale: number;
  /** Which pairs that division spares, where it is YaRN's */
  readonly yarn?: Yarn;
  /** What queries and keys are multiplied by as they turn */
  readonly magnitude: number;
}

/**
 * YaRN (Peng et al. 2023, arXiv 2309.00071): pairs that turn more than `betaFast`
 * times in the first `contextSize` positions keep their frequency, those that
 * turn less than `betaSlow` times have it divided, and a ramp lies between.
 */
export interface Yarn {
  /** Positions that the model was first trained on */
  readonly contextSize: number;
  /** Turns in these of the slowest pairs that keep their frequency */
  readonly betaFast: number;
  /** Turns in these of the fastest pairs whose frequency is divided */
  readonly betaSlow: number;
}

/** Where element i of a head goes, so that its `half` pairs lie side by side; elements behind `ropeSize` stay. */
export function interleavedPlace(i: number, ropeSize: number): number {
  const half = ropeSize / 2;
  if (i >= ropeSize) return i;
  return i < half ? 2 * i : 2 * (i - half) + 1;
}

/**
 * Divisors of the frequencies, one for each pair, where the file has them:
 * `rope_freqs`, or longrope's (arXiv 2402.13753), which has others for contexts
 * longer than the model was first trained on.
 */
export function ropeFactors<T>(
  { rope_freqs, rope_factors_long, rope_factors_short }: PerTensor<T>,
  { originalContextSize }: { readonly originalContextSize: number },
  contextSize: number,
): T | undefined {
  const isLong = contextSize > originalContextSize;
  return rope_freqs ?? (isLong ? rope_factors_long : rope_factors_short);
}

/** The angle, in radians, by which each of the `ropeSize / 2` pairs turns per position: base^(-2i / ropeSize), scaled. */
export function ropeFrequencies(
  { base, scale, yarn }: Rotation,
  ropeSize: number,
  factors?: Float32Array,
): Float64Array {
  const kept = yarn && keptPairs(base, ropeSize, yarn);
  return Float64Array.from({ length: ropeSize / 2 }, (_, i) => {
    const frequency = base ** (-2 * i / ropeSize) / (factors?.[i] ?? 1);
    const share = kept?.(i) ?? 0;
    return frequency * (share + (1 - share) / scale);
  });
}

/** Which share of its frequency pair i keeps. */
function keptPairs(
  base: number,
  ropeSize: number,
  { contextSize, betaFast, betaSlow }: Yarn,
): (i: number) => number {
  // The pair that turns so many times.
  const pairOf = (turns: number) =>
    ropeSize * Math.log(contextSize / (turns * 2 * Math.PI)) /
    (2 * Math.log(base));
  const first = Math.max(0, Math.floor(pairOf(betaFast)));
  const last = Math.min(ropeSize - 1, Math.ceil(pairOf(betaSlow)));
  const width = Math.max(0.001, last - first);
  return (i) => 1 - Math.min(1, Math.max(0, (i - first) / width));
}

/** Writes (cos, sin) of each pair's angle at `position`, times `magnitude`, into `out`, `2 · frequencies.length` long. */
export function ropeAngles(
  frequencies: Float64Array,
  position: number,
  out: Float32Array,
  magnitude = 1,
): void {
  for (let i = 0; i < frequencies.length; i++) {
    const angle = position * frequencies[i];
    out[2 * i] = magnitude * Math.cos(angle);
    out[2 * i + 1] = magnitude * Math.sin(angle);
  }
}
