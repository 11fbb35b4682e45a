/**
 * The splits that others make, to compare with: the same share of every layer,
 * whole layers as in llama.cpp, and PowerInfer's, which has the most activations
 * on the GPU.
 */
import { expertSize } from "../model/experts.ts";
import type { Model } from "../model/model.ts";
import { type Costs, neuronUnit } from "./costs.ts";
import { deviceSizes, expertOrder, gpuPlan, hotOrder } from "./gpu_plan.ts";
import {
  type LayerChoice,
  layerChoices,
  multiplesOf,
  pathMs,
} from "./layer_choices.ts";
import { predict } from "./prediction.ts";
import type { Solution, SolveOptions } from "./solve.ts";
import { type Side, sides } from "./schedule.ts";

/** What limits a split. */
export type SplitOptions = Pick<SolveOptions, "budget" | "bytesOf">;

/**
 * The fastest split that treats layers alike: as many of the hottest neurons in
 * each (multiples of `step`), or of the hottest experts, attention in all or in
 * none, or the last layers whole; with the vocabulary or without.
 */
export function uniformSplit(
  model: Model,
  costs: Costs,
  { budget, bytesOf }: SplitOptions,
  step = 256,
): Solution {
  const { feedForwardSize, routing } = model;
  const sizes = deviceSizes(model, bytesOf);
  const choicesOf = (
    orderOf: typeof expertOrder,
    hotCounts: readonly number[],
  ) =>
    model.layers.map((_, i) =>
      layerChoices(costs, i, {
        order: orderOf(model, costs, i),
        hotCounts,
        routing,
        ...sizes.layers[i],
      })
    );
  const counts = multiplesOf(wholeUnits(model, step), feedForwardSize);
  const choices = choicesOf(hotOrder, counts);
  const kinds = [choices];
  if (routing) {
    const size = expertSize(model);
    kinds.push(choicesOf(expertOrder, multiplesOf(size, feedForwardSize)));
  }
  const alike = kinds.flatMap((layers) =>
    layers[0].map((_, choice) => layers.map((layer) => layer[choice]))
  );
  const whole = Array.from(
    { length: choices.length + 1 },
    (_, onCpu) =>
      choices.map((layer, i) => i < onCpu ? layer[0] : layer.at(-1)!),
  ).reverse();
  const onCpu = predict(model, costs);
  let best: { vocab: Side; layers: LayerChoice[] } | undefined;
  let bestMs = onCpu.ms;
  for (const vocab of sides) {
    for (const layers of [...alike, ...whole]) {
      const bytes = layers.reduce(
        (sum, choice) => sum + choice.bytes,
        sizes.fixed + (vocab === "gpu" ? sizes.vocab : 0),
      );
      const ms = pathMs(costs, layers, vocab);
      if (bytes > budget || ms >= bestMs) continue;
      best = { vocab, layers };
      bestMs = ms;
    }
  }
  if (!best) return { bytes: 0, prediction: onCpu };
  const gpu = gpuPlan(model, best);
  return { gpu, bytes: bytesOf(gpu), prediction: predict(model, costs, gpu) };
}

/** At least so many neurons, which go to the GPU together in every layer. */
function wholeUnits(model: Model, neurons: number): number {
  const unit = Math.max(...model.layers.map((_, i) => neuronUnit(model, i)));
  return unit * Math.ceil(neurons / unit);
}

/** Neurons in a group of PowerInfer's solver. */
const powerInferGroup = 256;

/**
 * PowerInfer's split: attention first, from the first layer on, then the
 * vocabulary, and with what is left the neurons that fire most, over all layers,
 * in groups of 256.
 */
export function powerInferSplit(
  model: Model,
  costs: Costs,
  { budget, bytesOf }: SplitOptions,
): Solution {
  const { feedForwardSize } = model;
  const sizes = deviceSizes(model, bytesOf);
  let left = budget - sizes.fixed;
  const takes = (bytes: number) => {
    const fits = bytes <= left;
    if (fits) left -= bytes;
    return fits;
  };
  // The first that has no room ends the search, as later ones build on it.
  let hasRoom = left >= 0;
  const attention = sizes.layers.map(({ attentionBytes }): Side => {
    hasRoom = hasRoom && takes(attentionBytes);
    return hasRoom ? "gpu" : "cpu";
  });
  hasRoom = hasRoom && takes(sizes.vocab);
  const orders = model.layers.map((_, i) => hotOrder(model, costs, i));
  const frequencies = orders.map((order, i) =>
    Array.from(order.ids, (id) => costs.layers[i].active[id])
  );
  const widest = Math.max(...sizes.layers.map((layer) => layer.neuronBytes));
  const counts = splitByFrequency(
    frequencies,
    Math.max(0, left) / widest,
    Math.min(wholeUnits(model, powerInferGroup), feedForwardSize),
  );
  const gpu = gpuPlan(model, {
    layers: attention.map((attention, i) => ({
      attention,
      order: orders[i],
      hot: counts[i],
    })),
    vocab: hasRoom ? "gpu" : "cpu",
  });
  const bytes = bytesOf(gpu);
  return bytes <= budget
    ? { gpu, bytes, prediction: predict(model, costs, gpu) }
    : { bytes: 0, prediction: predict(model, costs) };
}

/**
 * How many of each layer's neurons to take, so that the sum of their
 * frequencies is as large as can be: PowerInfer's integer program, solved
 * exactly. Its terms are groups of a layer's neurons, hottest first.
 *
 * @param frequencies of each layer's neurons, descending
 * @param capacity neurons that may be taken
 * @param group neurons that are taken together
 * @param least neurons of a layer below which none of it are taken
 */
export function splitByFrequency(
  frequencies: readonly ArrayLike<number>[],
  capacity: number,
  group: number,
  least = 0,
): number[] {
  // More than all neurons there is no use for, and a budget may be without limit.
  const groups = frequencies.reduce(
    (sum, { length }) => sum + Math.ceil(length / group),
    0,
  );
  const rooms = Math.min(Math.floor(capacity / group), groups);
  // best[r]: the largest sum with r groups at most; taken[layer][r]: the layer's part of them.
  let best = new Float64Array(rooms + 1);
  const taken = frequencies.map((layer) => {
    const sums = groupSums(layer, group);
    const fewest = Math.max(1, Math.ceil(least / group));
    const next = best.slice();
    const counts = new Uint32Array(rooms + 1);
    for (let count = fewest; count < sums.length; count++) {
      for (let room = count; room <= rooms; room++) {
        const sum = best[room - count] + sums[count];
        if (sum > next[room]) {
          next[room] = sum;
          counts[room] = count;
        }
      }
    }
    best = next;
    return counts;
  });
  let room = rooms;
  const chosen: number[] = [];
  for (let layer = frequencies.length - 1; layer >= 0; layer--) {
    const count = taken[layer][room];
    chosen.unshift(Math.min(count * group, frequencies[layer].length));
    room -= count;
  }
  return chosen;
}

/** The sum of the first n groups, for each n. */
function groupSums(values: ArrayLike<number>, group: number): number[] {
  const sums = [0];
  for (let start = 0; start < values.length; start += group) {
    let sum = sums.at(-1)!;
    const end = Math.min(values.length, start + group);
    for (let i = start; i < end; i++) sum += values[i];
    sums.push(sum);
  }
  return sums;
}
