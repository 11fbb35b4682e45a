/**
 * Least-squares fits of a few weights by small integers. Rounding under a
 * first scale gives integers; the scale that fits those integers best has a
 * closed form; of several first scales the one with the smallest squared
 * error is kept.
 */
import { largestMagnitude } from "./quantise_32.ts";

/** A weight is about scale · q − min, neither being negative. */
export interface AffineFit {
  /** Step between two integers. */
  readonly scale: number;
  /** What is taken off. */
  readonly min: number;
}

/**
 * How far the first scales spread the weights beyond the integers' range, in
 * steps: a range that cuts off the extremes can have a smaller error.
 */
const SPREADS = [-0.5, 0, 0.5, 1, 1.5];

/**
 * Fits values by scale · q with q in −`lowest`..`lowest` − 1.
 *
 * @returns the scale, which may be negative.
 */
export function fitScale(values: Float32Array, lowest: number): number {
  const extreme = largestMagnitude(values);
  if (extreme === 0) return 0;
  // The squared error is Σx² − (Σxq)² / Σq², so the last term is maximised.
  let best = 0;
  let largestGain = 0;
  for (const spread of SPREADS) {
    const inverse = -(lowest + spread) / extreme;
    let xq = 0;
    let qq = 0;
    for (const x of values) {
      const q = clamp(nearest(x * inverse), -lowest, lowest - 1);
      xq += x * q;
      qq += q * q;
    }
    const gain = qq === 0 ? 0 : xq * xq / qq;
    if (gain > largestGain) {
      best = xq / qq;
      largestGain = gain;
    }
  }
  return best;
}

/** The nearest integer, ties up: what `Math.round` gives, but for 0.5 less the least. */
export function nearest(value: number): number {
  return Math.floor(value + 0.5);
}

/** The number of `lowest`..`highest` nearest to a value. */
export function clamp(value: number, lowest: number, highest: number): number {
  return Math.min(highest, Math.max(lowest, value));
}

/** The integers under one first scale; a group has at most 32 weights. */
const quants = new Uint8Array(32);

/** Fits values by scale · q − min with q in 0..`largest`. */
export function fitAffine(values: Float32Array, largest: number): AffineFit {
  let low = 0;
  let high = -Infinity;
  for (const x of values) {
    low = Math.min(low, x);
    high = Math.max(high, x);
  }
  if (high <= low) return { scale: 0, min: -low };
  let best: AffineFit = { scale: 0, min: 0 };
  let smallest = Infinity;
  for (const spread of SPREADS) {
    const inverse = (largest + spread) / (high - low);
    for (let i = 0; i < values.length; i++) {
      quants[i] = Math.min(largest, nearest((values[i] - low) * inverse));
    }
    const fit = fitLine(values);
    const error = squaredError(values, fit);
    if (error < smallest) {
      best = fit;
      smallest = error;
    }
  }
  return best;
}

/** The line through (q, x) of least squared error whose minimum is not above 0. */
function fitLine(values: Float32Array): AffineFit {
  const n = values.length;
  let x = 0;
  let q = 0;
  let xq = 0;
  let qq = 0;
  for (let i = 0; i < n; i++) {
    x += values[i];
    q += quants[i];
    xq += values[i] * quants[i];
    qq += quants[i] * quants[i];
  }
  const spread = n * qq - q * q;
  const scale = spread === 0 ? 0 : (n * xq - q * x) / spread;
  const min = (scale * q - x) / n;
  if (spread > 0 && min >= 0) return { scale, min };
  // The line through the origin; integers that are all equal fix no other.
  return { scale: qq === 0 ? 0 : Math.max(0, xq / qq), min: 0 };
}

function squaredError(values: Float32Array, { scale, min }: AffineFit): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    const difference = scale * quants[i] - min - values[i];
    sum += difference * difference;
  }
  return sum;
}
