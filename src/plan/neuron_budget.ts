/**
 * Which neurons of a model without experts stay in memory where a budget does
 * not hold all rows of theirs. The rows of the others are read from the file
 * when a mask asks for them: a positive gate, a predictor.
 */
import { LimitError } from "../errors.ts";
import { type IndexSet, lengthOf } from "../model/index_set.ts";
import type { LayerTensors } from "../model/model.ts";
import type { LayerTensorName } from "../model/schema.ts";
import { largestGroup } from "./groups.ts";
import type { Profile } from "./profile.ts";
import type { Sparsity } from "./sparsity.ts";

/** The neurons of a layer that have a place in memory. */
export interface LayerNeurons {
  /** How many, of all places together */
  readonly count: number;
  /** Whether most of them stay, the hottest: the room of the others is a cache */
  readonly stay: boolean;
  /** The matrices of which there are rows of them alone */
  readonly matrices: readonly LayerTensorName[];
}

/** The same of one place. */
export interface ResidentNeurons extends Pick<LayerNeurons, "matrices"> {
  /** How many are there at first, the first ones as the place stores them; there is room for as many */
  readonly loaded: number;
  /** How many of them stay, the first ones */
  readonly pinned: number;
}

/** What a model may take in memory, and what it needs there, in bytes. */
export interface NeuronBudget {
  readonly budget: number;
  /** What is not of such rows: other weights, keys and values, scratch */
  readonly fixed: number;
  /** Scratch on top of that, where not all rows fit */
  readonly scratch: number;
  /** Rows of such matrices of one neuron, by layer */
  readonly neuronBytes: readonly number[];
  /** Those matrices, by layer */
  readonly matrices: readonly (readonly LayerTensorName[])[];
  /** Neurons of each place; those of all layers are cut alike */
  readonly places: readonly number[];
}

/** Of a layer's neurons, or experts, in memory, the share that is a cache where a profile says which others stay. */
export const cacheShare = 1 / 4;

/**
 * The matrices of a layer of which only those rows are read that a mask asks
 * for: all where a predictor says which, else those that the gates decide about.
 */
export function maskedMatrices(
  { ffn_gate, ffn_down_t, fc1, fc2 }: LayerTensors,
  { mode }: Sparsity,
): LayerTensorName[] {
  const predicts = mode === "predictor" && fc1 && fc2;
  return [
    ...ffn_gate && predicts ? ["ffn_gate" as const] : [],
    ...ffn_gate || predicts ? ["ffn_up" as const] : [],
    ...ffn_down_t ? ["ffn_down_t" as const] : [],
  ];
}

/**
 * Decides by how often a profile has each neuron's gate positive, and otherwise
 * gives each layer the same share. Undefined where all rows fit.
 *
 * @throws {LimitError} where the budget does not hold the rows that are added up together
 */
export function residentNeurons(
  { feedForwardSize }: { readonly feedForwardSize: number },
  { budget, neuronBytes, matrices, places, ...bytes }: NeuronBudget,
  profile?: Profile,
): LayerNeurons[] | undefined {
  const all = sum(neuronBytes);
  if (bytes.fixed + feedForwardSize * all <= budget) return undefined;
  const fixed = bytes.fixed + bytes.scratch;
  const fewest = Math.max(
    ...places.filter((rows) => rows > 0).map((rows) =>
      Math.ceil(
        Math.min(largestGroup(feedForwardSize), rows) / rows *
          feedForwardSize,
      )
    ),
  );
  const least = fixed + fewest * all;
  if (least > budget) {
    throw new LimitError(
      `Cannot run the model in a memory budget of ${budget} bytes: it needs ${least} for attention, output head, keys, values, what is read of every neuron and the other rows of ${fewest} of ${feedForwardSize} neurons in each layer`,
    );
  }
  const layers = neuronBytes.map((bytes, layer) => ({ bytes, layer }))
    .filter(({ bytes }) => bytes > 0);
  const counts = neuronBytes.map(() => fewest);
  if (profile) fillHottest(counts, layers, budget - least, profile);
  else {
    const each = Math.floor((budget - fixed) / all);
    for (const { layer } of layers) {
      counts[layer] = Math.min(feedForwardSize, each);
    }
  }
  return counts.map((count, layer) => ({
    count: neuronBytes[layer] > 0 ? count : feedForwardSize,
    stay: profile !== undefined,
    matrices: matrices[layer],
  }));
}

/** Neurons that are given room together. */
const unit = 32;

/** Gives room to neurons of all layers, those first that are asked for most a byte. */
function fillHottest(
  counts: number[],
  layers: readonly { readonly bytes: number; readonly layer: number }[],
  room: number,
  profile: Profile,
): void {
  const steps = layers.flatMap(({ bytes, layer }) => {
    const sorted = profile.layers[layer].gatePositive.toSorted().reverse();
    const found: { layer: number; bytes: number; worth: number }[] = [];
    for (let at = counts[layer]; at + unit <= sorted.length; at += unit) {
      found.push({ layer, bytes: unit * bytes, worth: sorted[at] / bytes });
    }
    return found;
  }).sort((a, b) => b.worth - a.worth);
  for (const { layer, bytes } of steps) {
    if (bytes > room) continue;
    room -= bytes;
    counts[layer] += unit;
  }
}

/** What a place that has `neurons` of a layer's `count` keeps of them; undefined where that is all. */
export function residentOfPlace(
  layer: LayerNeurons | undefined,
  neurons: IndexSet,
  feedForwardSize: number,
): ResidentNeurons | undefined {
  if (!layer) return undefined;
  const rows = lengthOf(neurons);
  const loaded = Math.floor(layer.count * rows / feedForwardSize);
  if (loaded >= rows) return undefined;
  const least = Math.min(largestGroup(feedForwardSize), rows);
  const cache = Math.max(least, Math.ceil(cacheShare * loaded));
  const pinned = layer.stay ? Math.max(0, loaded - cache) : 0;
  return { loaded, pinned, matrices: layer.matrices };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
