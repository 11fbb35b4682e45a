/**
 * A plan says which place holds which parts of a model. A layer is a sum over
 * heads and a sum over neurons, and the output head a list of vocabulary rows,
 * so any cut of these gives the same model.
 *
 * @module
 */
import type { Model } from "../model/model.ts";
import { firingOf, type Profile } from "./profile.ts";

/** Indices `start` to `end - 1`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** How often the neurons of a part fire, hottest first. All arrays are as long as the part. */
export interface Firing {
  /** The file's neuron indices */
  readonly order: Uint32Array;
  /** Share of tokens for which the gate is positive, in that order */
  readonly gatePositive: Float32Array;
  /** Share of tokens for which h is not zero, in that order */
  readonly active: Float32Array;
}

/** What one place holds of one layer. Indices are the file's own. */
export interface Part {
  /** Query heads; the key and value heads that serve them come along. */
  readonly heads: Range;
  /** Neurons of the FFN. */
  readonly neurons: Range;
  /** How often they fire, where a profile tells: the place stores them in that order. */
  readonly firing?: Firing;
}

/** What one place holds. */
export interface PlacePlan {
  /** A part for each layer. */
  readonly parts: readonly Part[];
  /** Rows of the embedding and of the output head. */
  readonly vocab: Range;
}

/** Which place holds what. Together the places hold everything once. */
export interface Plan {
  readonly places: readonly PlacePlan[];
}

/** How many indices a range holds. */
export function lengthOf(range: Range): number {
  return range.end - range.start;
}

/** The key and value heads that a range of query heads reads. */
export function kvHeadsOf(model: Model, heads: Range): Range {
  const group = model.headCount / model.kvHeadCount;
  return lengthOf(heads) === 0 ? { start: 0, end: 0 } : {
    start: Math.floor(heads.start / group),
    end: Math.ceil(heads.end / group),
  };
}

/**
 * Cuts `count` indices into `shares` ranges as even as `unit` allows: borders
 * are multiples of `unit`, but for the last one.
 */
export function splitRange(
  count: number,
  shares: number,
  unit: number,
): Range[] {
  const border = (share: number) =>
    share === shares
      ? count
      : Math.min(count, Math.round(count * share / shares / unit) * unit);
  return Array.from(
    { length: shares },
    (_, share) => ({ start: border(share), end: border(share + 1) }),
  );
}

/**
 * Blocks of quantised weights and activations are 32 wide: borders of neurons
 * that fall between them quantise the same values whatever the number of places.
 */
const neuronUnit = 32;

/**
 * Every place gets the same share of each layer, for places of one speed. With
 * a profile, each orders its neurons by how often they fire.
 */
export function splitEvenly(
  model: Model,
  places: number,
  profile?: Profile,
): Plan {
  const heads = splitRange(model.headCount, places, 1);
  const neurons = splitRange(
    model.feedForwardSize,
    places,
    model.feedForwardSize >= neuronUnit * places ? neuronUnit : 1,
  );
  const vocab = splitRange(model.vocabSize, places, 1);
  return {
    places: vocab.map((rows, i) => ({
      vocab: rows,
      parts: model.layers.map((_, layer) => ({
        heads: heads[i],
        neurons: neurons[i],
        firing: profile && firingOf(profile, layer, neurons[i]),
      })),
    })),
  };
}
