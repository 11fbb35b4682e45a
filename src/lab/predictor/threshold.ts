import { Dense } from "./dense.ts";
import type { Samples } from "./layer_samples.ts";
import { store } from "./stored.ts";

/** Times that a threshold is put into fc2, which rounds it. */
const calibrations = 6;
/** By how much more than is wanted may then be missed, as a share. */
const missedMore = 0.05;

/** fc2 as it is stored, and what a threshold of 0 then reaches. */
export interface Calibrated {
  readonly data: Uint8Array;
  /** Share of the neurons that fire which it selects */
  readonly recall: number;
  /** Share of all neurons that it selects */
  readonly asked: number;
}

/**
 * The largest threshold that at least the share `recall` of the scores reaches;
 * Infinity where there are none.
 */
export function thresholdOf(scores: Float32Array, recall: number): number {
  const sorted = scores.toSorted();
  const missed = Math.floor((1 - recall) * sorted.length + 1e-9);
  return sorted.length > 0 ? sorted[missed] : Infinity;
}

/** `of` each neuron that fires: its score, and its sample's number. */
export function ofFiring(
  scores: Dense,
  samples: Samples,
  of: (score: number, t: number) => number = (score) => score,
): Float32Array {
  const values: number[] = [];
  for (let t = 0; t < scores.rows; t++) {
    const row = scores.row(t), fires = samples.firesAt(t);
    for (let j = 0; j < row.length; j++) {
      if (fires[j] !== 0) values.push(of(row[j], t));
    }
  }
  return Float32Array.from(values);
}

/**
 * Stores fc2 such that 0 is the threshold of the wanted recall: scores are
 * moved by as much of the first z, which stands for 1, in the column that it is
 * multiplied with. Storing rounds what is moved by, so the rest is moved again;
 * of all these, takes the one that selects the fewest neurons of those that
 * reach the recall, or nearly, or else the one that comes nearest to it.
 *
 * @param z Of the samples, `[samples, rank]`, as fc2 is given it.
 */
export function calibrated(
  fc2: Dense,
  z: Dense,
  samples: Samples,
  recall: number,
): Calibrated {
  const { memory } = fc2;
  const moved = new Dense(memory, fc2.rows, fc2.columns);
  const scores = new Dense(memory, z.rows, fc2.rows);
  const ones = Array.from({ length: z.rows }, (_, t) => z.row(t)[0]);
  // Where nothing stands for 1, nothing moves the score.
  const ratio = (score: number, t: number) => score / ones[t] || 0;
  const tried: Calibrated[] = [];
  for (let shift = 0; tried.length < calibrations;) {
    moved.copy(fc2);
    for (let j = 0; j < moved.rows; j++) moved.row(j)[0] -= shift;
    const data = store("fc2", moved, moved);
    moved.times(z, scores);
    tried.push({ data, ...reachedOf(scores, samples) });
    const rest = thresholdOf(ofFiring(scores, samples, ratio), recall);
    if (!Number.isFinite(rest) || Math.abs(rest) < 1e-4) break;
    shift += rest;
  }
  const least = 1 - (1 - recall) * (1 + missedMore);
  const reached = tried.filter((each) => each.recall >= least);
  return reached.length > 0
    ? reached.reduce((a, b) => b.asked < a.asked ? b : a)
    : tried.reduce((a, b) => b.recall > a.recall ? b : a);
}

/** What a threshold of 0 reaches. */
function reachedOf(
  scores: Dense,
  samples: Samples,
): Pick<Calibrated, "recall" | "asked"> {
  let asked = 0;
  for (let t = 0; t < scores.rows; t++) {
    for (const score of scores.row(t)) if (score >= 0) asked++;
  }
  const firing = ofFiring(scores, samples);
  const recalled = firing.reduce((sum, score) => sum + +(score >= 0), 0);
  return {
    recall: firing.length === 0 ? 1 : recalled / firing.length,
    asked: asked / (scores.rows * scores.columns),
  };
}
