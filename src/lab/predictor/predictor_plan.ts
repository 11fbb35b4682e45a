import type { Model } from "../../model/model.ts";
import type { Random } from "../../random.ts";
import type { StoredTensor } from "./stored.ts";

/** Is given each step of a layer: the rank that is tried, and what share of its training is done. */
export type OnTrainingStep = (
  layer: number,
  rank: number,
  done: number,
) => void;

/** A predictor that is to be made, with every option decided. */
export interface PredictorPlan {
  readonly model: Model;
  /** Tokens of the text */
  readonly tokens: number;
  /** Where the search for a rank begins */
  readonly rank: number;
  /** Whether to keep to it */
  readonly isFixed: boolean;
  readonly recall: number;
  /** Inputs that it is trained on, and times that each is seen; left out for one without training */
  readonly training?: { readonly examples: number; readonly epochs: number };
}

/** A layer's predictor. */
export interface MadeLayer {
  /** Its fc1 and fc2 */
  readonly tensors: readonly StoredTensor[];
  /** From what score on it selects a neuron */
  readonly threshold: number;
}

/** Makes one layer after another of what its samples hold. */
export interface LayerMaker {
  /** The layer's predictor; `pause` is awaited now and then. */
  make(
    layer: number,
    random: Random,
    pause: () => Promise<void>,
  ): Promise<MadeLayer>;
}
