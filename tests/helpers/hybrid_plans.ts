/**
 * Plans that leave part of a model to a GPU, for tests.
 *
 * @module
 */
import { ggmlTypes } from "../../src/formats/ggml/types.ts";
import {
  expertSize,
  neuronsOf,
  ofEachExpert,
} from "../../src/model/experts.ts";
import type { Model } from "../../src/model/model.ts";
import {
  compact,
  type IndexSet,
  noIndices,
} from "../../src/model/index_set.ts";
import type { PlacePlan } from "../../src/plan/plan.ts";
import { seededRandom } from "./seeded_random.ts";

/** A GPU that holds this share of the heads, of the vocabulary, and of neurons scattered over each layer. */
export function scatteredShare(
  model: Model,
  share: number,
  seed = 1,
): PlacePlan {
  const random = seededRandom(seed);
  const first = (count: number) => ({
    start: 0,
    end: Math.round(count * share),
  });
  return {
    vocab: first(model.vocabSize),
    parts: model.layers.map((_, layer) => ({
      heads: first(model.headCount),
      neurons: scatteredNeurons(model, layer, share, random),
    })),
  };
}

/** Attention and vocabulary on the GPU, and a share of the neurons: what the planner makes of a card that is too small. */
export function hybrid(model: Model, share: number): PlacePlan {
  const { parts } = scatteredShare(model, share);
  return {
    vocab: { start: 0, end: model.vocabSize },
    parts: parts.map((part) => ({
      ...part,
      heads: { start: 0, end: model.headCount },
    })),
  };
}

/** A GPU that holds the layers below `count` whole, and the vocabulary if asked. */
export function firstLayers(
  model: Model,
  count: number,
  withVocab: boolean,
): PlacePlan {
  const all = (isHeld: boolean, end: number) => ({
    start: 0,
    end: isHeld ? end : 0,
  });
  return {
    vocab: all(withVocab, model.vocabSize),
    parts: model.layers.map((_, layer) => ({
      heads: all(layer < count, model.headCount),
      neurons: all(layer < count, model.feedForwardSize),
    })),
  };
}

/**
 * Shares that differ from layer to layer and have nothing to do with one another:
 * of experts every second layer has the same neurons of each, the others some whole.
 */
export function randomSplit(model: Model, seed: number): PlacePlan {
  const random = seededRandom(seed);
  const first = (count: number) => ({
    start: 0,
    end: Math.floor(random() * (count + 1)),
  });
  return {
    vocab: first(model.vocabSize),
    parts: model.layers.map((_, layer) => ({
      heads: first(model.headCount),
      neurons: model.routing && (layer + seed) % 2 === 0
        ? scatteredExperts(model, random(), random)
        : scatteredNeurons(model, layer, random(), random),
    })),
  };
}

/** A GPU that holds a share of the experts of each layer, nothing else. */
export function someExperts(
  model: Model,
  share: number,
  seed: number,
): PlacePlan {
  const random = seededRandom(seed);
  return {
    vocab: noIndices,
    parts: model.layers.map(() => ({
      heads: noIndices,
      neurons: scatteredExperts(model, share, random),
    })),
  };
}

/** A share of the experts of a layer, whole. */
function scatteredExperts(
  model: Model,
  share: number,
  random: () => number,
): IndexSet {
  const { expertCount } = model;
  const experts = Array.from(
    { length: expertCount },
    (_, expert) => ({ expert, key: random() }),
  ).sort((a, b) => a.key - b.key)
    .slice(0, Math.round(share * expertCount))
    .map(({ expert }) => expert).sort((a, b) => a - b);
  return neuronsOf(model, experts);
}

/** Whole blocks of a quantised `ffn_down`, single neurons of other files; the same of each expert. */
function scatteredNeurons(
  model: Model,
  layer: number,
  share: number,
  random: () => number,
): IndexSet {
  const { ffn_down } = model.layers[layer];
  const { blockSize } = ggmlTypes[ffn_down?.type ?? "F32"];
  const size = expertSize(model);
  const blocks = Array.from(
    { length: Math.ceil(size / blockSize) },
    (_, block) => ({ block, key: random() }),
  );
  blocks.sort((a, b) => a.key - b.key);
  const ids = blocks.slice(0, Math.round(share * blocks.length))
    .flatMap(({ block }) =>
      Array.from({ length: blockSize }, (_, i) => block * blockSize + i)
    );
  const within = compact(Uint32Array.from(ids).sort());
  return ofEachExpert(model.expertCount, size, within);
}
