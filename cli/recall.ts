/**
 * How well a predictor did, where that was measured.
 *
 * @module
 */
import { type PlaceStats, totalOf } from "../lab.ts";
import { formatShare } from "./format.ts";

/** What a predictor selected and missed. */
export interface Recall {
  /** Share of all neurons that it selected, always-hot ones included */
  readonly predicted: number;
  /** Share of the neurons that fire which it selected */
  readonly recall: number;
  /** Share of Σ |h| that it missed */
  readonly missedMass: number;
}

/** What was counted with `measureRecall`, as shares. */
export function recallOf(stats: PlaceStats): Recall {
  const total = (name: Parameters<typeof totalOf>[1]) => totalOf(stats, name);
  const truthMass = total("truthMass");
  return {
    predicted: total("predicted") / total("neurons"),
    recall: total("recalled") / total("truth"),
    missedMass: (truthMass - total("recalledMass")) / truthMass,
  };
}

/** The same in a line, for `bench --measure-recall`. */
export function recallText(stats: PlaceStats): string {
  const { predicted, recall, missedMass } = recallOf(stats);
  return `the predictor selects ${formatShare(predicted, 1)} of the neurons, ${
    formatShare(recall, 1)
  } of those that fire, and misses ${
    formatShare(missedMass, 1)
  } of the sum of |h|`;
}
