/**
 * A GPU's share of a model, as planners put it together: which neurons come
 * first, what they take, and the plan that they make.
 */
import type { Model } from "../model/model.ts";
import { type Costs, neuronBlock, neuronUnit } from "./costs.ts";
import { expertSize, ofEachExpert } from "../model/experts.ts";
import { compact, lengthOf, listOf, noIndices } from "../model/index_set.ts";
import type { PlacePlan } from "./plan.ts";
import type { Side } from "./schedule.ts";

/** An order in which a layer's neurons go to the GPU. */
export interface NeuronOrder {
  readonly ids: Uint32Array;
  /** How many go together: a block, the same of all experts; or an expert */
  readonly unit: number;
}

/** What a planner decides of a layer. */
export interface GpuLayer {
  /** Who holds all heads */
  readonly attention: Side;
  /** The order in which its neurons go to the GPU */
  readonly order: NeuronOrder;
  /** How many of these are there, the first ones */
  readonly hot: number;
}

/** What a planner decides of a model. */
export interface GpuShare {
  readonly layers: readonly GpuLayer[];
  /** Who holds embedding and output head */
  readonly vocab: Side;
}

/** The plan of a GPU's share. */
export function gpuPlan(
  model: Model,
  { layers, vocab }: GpuShare,
): PlacePlan {
  return {
    vocab: { start: 0, end: vocab === "gpu" ? model.vocabSize : 0 },
    parts: layers.map(({ attention, order, hot }) => ({
      heads: { start: 0, end: attention === "gpu" ? model.headCount : 0 },
      neurons: compact(order.ids.slice(0, hot).sort()),
      hot: true,
    })),
  };
}

/**
 * The orders in which a layer's neurons may go to the GPU: the same of all
 * experts, and where there are several, one expert after another.
 */
export function ordersOf(
  model: Model,
  costs: Costs,
  layer: number,
): NeuronOrder[] {
  const byNeuron = hotOrder(model, costs, layer);
  return model.routing
    ? [byNeuron, expertOrder(model, costs, layer)]
    : [byNeuron];
}

/**
 * A layer's neurons in the order in which they are worth being on the GPU: by
 * what they cost the CPU, in whole blocks, the same of all experts; `first` of
 * them before all others.
 */
export function hotOrder(
  model: Model,
  costs: Costs,
  layer: number,
  first: Uint32Array = new Uint32Array(),
): NeuronOrder {
  const block = neuronBlock(model.layers[layer]);
  const size = expertSize(model);
  const order = byWorth(
    costs,
    layer,
    Math.ceil(size / block),
    (id) => Math.floor(id % size / block),
  );
  const isFirst = new Uint8Array(model.feedForwardSize);
  for (const id of first) isFirst[id] = 1;
  const ids = Array.from(first);
  for (const index of order) {
    const end = Math.min(size, (index + 1) * block);
    const own = { start: index * block, end };
    for (const id of listOf(ofEachExpert(model.expertCount, size, own))) {
      if (!isFirst[id]) ids.push(id);
    }
  }
  return { ids: Uint32Array.from(ids), unit: neuronUnit(model, layer) };
}

/** The same expert after expert, whole ones. */
export function expertOrder(
  model: Model,
  costs: Costs,
  layer: number,
): NeuronOrder {
  const size = expertSize(model);
  const order = byWorth(
    costs,
    layer,
    model.expertCount,
    (id) => Math.floor(id / size),
  );
  const ids = Uint32Array.from(
    { length: model.feedForwardSize },
    (_, i) => order[Math.floor(i / size)] * size + i % size,
  );
  return { ids, unit: size };
}

/** Sets of a layer's neurons, by what they cost the CPU and how often they fire. */
function byWorth(
  costs: Costs,
  layer: number,
  count: number,
  setOf: (id: number) => number,
): Uint32Array {
  const { neurons: { cpu }, active } = costs.layers[layer];
  const worth = new Float64Array(count), fires = new Float64Array(count);
  for (let id = 0; id < cpu.length; id++) {
    worth[setOf(id)] += cpu[id];
    fires[setOf(id)] += active[id];
  }
  return Uint32Array.from(worth.keys()).sort((a, b) =>
    worth[b] - worth[a] || fires[b] - fires[a] || a - b
  );
}

/** Bytes on the device by layer; what belongs to none is left out. */
export function layerBytes(
  model: Model,
  gpu: PlacePlan | undefined,
  bytesOf: (gpu: PlacePlan) => number,
): number[] {
  if (!gpu) return model.layers.map(() => 0);
  const { layers } = deviceSizes(model, bytesOf);
  return layers.map(({ attentionBytes, neuronBytes }, i) => {
    const { heads, neurons } = gpu.parts[i];
    return attentionBytes * lengthOf(heads) / model.headCount +
      neuronBytes * lengthOf(neurons);
  });
}

/**
 * What attention, neurons and vocabulary add to the bytes on a device, and what
 * is there anyway. Takes each of them out of a plan that has everything on the GPU. What is as
 * large as the largest of them needs it, such as scratch, so counts as fixed.
 */
export function deviceSizes(
  model: Model,
  bytesOf: (gpu: PlacePlan) => number,
) {
  const { headCount, feedForwardSize, vocabSize } = model;
  const all: PlacePlan = {
    vocab: { start: 0, end: vocabSize },
    parts: model.layers.map(() => ({
      heads: { start: 0, end: headCount },
      neurons: { start: 0, end: feedForwardSize },
      hot: true,
    })),
  };
  const total = bytesOf(all);
  const without = (layer: number, name: "heads" | "neurons") =>
    total - bytesOf({
      ...all,
      parts: all.parts.map((part, i) =>
        i === layer ? { ...part, [name]: noIndices } : part
      ),
    });
  const layers = model.layers.map((_, i) => ({
    attentionBytes: without(i, "heads"),
    neuronBytes: without(i, "neurons") / feedForwardSize,
  }));
  const vocab = total - bytesOf({ ...all, vocab: noIndices });
  const added = layers.reduce(
    (sum, { attentionBytes, neuronBytes }) =>
      sum + attentionBytes + feedForwardSize * neuronBytes,
    vocab,
  );
  return { layers, vocab, fixed: total - added, all: total };
}
