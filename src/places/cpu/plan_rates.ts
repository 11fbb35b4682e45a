/** What only a plan asks of a CPU place: how fast it adds up rows of down. */
import type { LayerCounts } from "../stats.ts";

/** ms that it takes. */
const measureMs = 6;
/** Share of a layer's neurons that fire: about what does in the models at hand. */
const firingShare = 0.15;

/** A place, by what is measured. */
export interface PlanSubject {
  /** Layers that it has neurons of */
  readonly layers: readonly number[];
  readonly counts: LayerCounts;
  /** Lets a share of a layer's neurons fire for one token, whatever they compute. */
  fire(layer: number, share: number): void;
  down(): void;
}

/**
 * The median of the bytes a ms of rows that are added up, layer after layer, time
 * and again; undefined where down has no row for each neuron. The first time
 * compiles what runs.
 */
export function measureSums(
  place: PlanSubject,
): number | undefined {
  const { layers, counts } = place;
  const rates: number[] = [];
  const start = performance.now();
  for (let round = 0; round < 2 || performance.now() - start < measureMs;) {
    if (round++ === 1) rates.length = 0;
    for (const layer of layers) {
      place.fire(layer, firingShare);
      const before = counts.get(layer, "picked");
      const from = performance.now();
      place.down();
      const ms = performance.now() - from;
      const bytes = counts.get(layer, "picked") - before;
      if (bytes > 0) rates.push(bytes / Math.max(1e-3, ms));
    }
  }
  return rates.sort((a, b) => a - b)[rates.length >> 1];
}
