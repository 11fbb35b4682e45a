/**
 * From what score on a neuron is asked for.
 *
 * @module
 */

/**
 * The largest threshold that at least the share `recall` of the scores reaches;
 * Infinity where there are none.
 */
export function thresholdOf(scores: Float32Array, recall: number): number {
  const sorted = scores.toSorted();
  const missed = Math.floor((1 - recall) * sorted.length + 1e-9);
  return sorted.length > 0 ? sorted[missed] : Infinity;
}
