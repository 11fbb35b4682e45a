/**
 * Which heads, neurons and vocabulary rows go to the GPU, so that a token takes
 * the least time that a budget of device memory allows.
 *
 * Each layer has a choice: attention on either side, and on the GPU any number of
 * its hottest neurons, the same of all experts, or of its hottest experts, whole. What a choice costs depends on which side has the
 * residual when the layer begins, and it leaves the residual on one side. That
 * makes a shortest path through the layers with a limit on bytes, which is
 * solved by dynamic programming over the bytes that are used so far, in units
 * of a fraction of a group of neurons.
 */
import { LimitError } from "../errors.ts";
import type { Model } from "../model/model.ts";
import type { Costs } from "./costs.ts";
import {
  deviceSizes,
  type GpuLayer,
  gpuPlan,
  type GpuShare,
  hotOrder,
  type NeuronOrder,
  ordersOf,
} from "./gpu_plan.ts";
import {
  type LayerChoice,
  layerChoices,
  multiplesOf,
  shortestPath,
  undominated,
  usesGpu,
} from "./layer_choices.ts";
import type { PlacePlan } from "./plan.ts";
import { ffnMs, predict, type Prediction, sumOver } from "./prediction.ts";
import type { Side } from "./schedule.ts";

/** What limits a plan. */
export interface SolveOptions {
  /** Bytes that may be taken on the device, for weights, keys and values, scratch and all */
  readonly budget: number;
  /** The bytes that a plan takes on the device */
  readonly bytesOf: (gpu: PlacePlan) => number;
  /**
   * Most layers that have anything on the GPU (llama.cpp's `-ngl`); the
   * vocabulary counts as one layer more, behind the others. Default: all.
   */
  readonly gpuLayers?: number;
  /** Neurons of each layer that are to be on the GPU, ascending, in place of the best */
  readonly neurons?: readonly Uint32Array[];
}

/** What the solver found. */
export interface Solution {
  /** What the GPU holds; undefined where it is best left out */
  readonly gpu?: PlacePlan;
  /** Bytes that this takes on the device */
  readonly bytes: number;
  /** What is expected of it */
  readonly prediction: Prediction;
}

/**
 * Groups of neurons that a layer is cut into (Bamboo-7B's have 256), and units of
 * memory in the smallest group, to which bytes are rounded up. Fewer where the
 * layers are limited, for these are counted as well.
 */
const resolution = {
  all: { groups: 56, units: 4 },
  limited: { groups: 28, units: 2 },
};
/** A count of units that is whole but for an error of rounding counts as whole. */
const rounding = 1e-9;
/** Most units that all of a model is cut into. */
const mostUnits = 1 << 15;

/**
 * Finds the plan of the least predicted time. It never takes more than the
 * budget; where bytes add up and neurons are few, more of it or
 * more layers make none slower. Many neurons are moved in groups, and single
 * ones fill what that leaves.
 *
 * @throws {LimitError} where `neurons` do not fit the budget or the layers
 */
export function solve(
  model: Model,
  costs: Costs,
  options: SolveOptions,
): Solution {
  let budget = options.budget;
  // Bytes that do not add up can pass the budget; a smaller one is then solved.
  for (let attempt = 0; attempt < 16; attempt++) {
    const found = solveAdditive(model, costs, { ...options, budget });
    if (!found) break;
    const bytes = options.bytesOf(gpuPlan(model, found));
    if (bytes <= options.budget) {
      const { gpu, bytes: used } = fillUp(model, costs, found, bytes, options);
      return { gpu, bytes: used, prediction: predict(model, costs, gpu) };
    }
    budget -= bytes - options.budget;
  }
  if (options.neurons?.some(({ length }) => length > 0)) {
    const { gpuLayers } = options;
    const layers = gpuLayers === undefined ? "" : ` and ${gpuLayers} layers`;
    throw new LimitError(
      `Cannot put the given neurons on the GPU: they do not fit into ${options.budget} bytes${layers}`,
    );
  }
  return { bytes: 0, prediction: predict(model, costs) };
}

/** A choice for every layer. */
interface Choices extends GpuShare {
  /** Bytes on the device of a neuron of each layer */
  readonly neuronBytes: readonly number[];
  /** Whether neurons were moved by several blocks at a time */
  readonly grouped: boolean;
}

/** Uses what groups and units of memory left of the budget, of which `bytes` are taken. */
function fillUp(
  model: Model,
  costs: Costs,
  found: Choices,
  bytes: number,
  options: SolveOptions,
): { gpu: PlacePlan; bytes: number } {
  const { budget, bytesOf } = options;
  let left = budget - bytes;
  // More neurons in the largest layer need more scratch, too.
  while (found.grouped && left > 0) {
    const layers = assignNeurons(model, costs, found, left);
    const gpu = gpuPlan(model, { ...found, layers });
    const used = bytesOf(gpu);
    if (used <= budget) return { gpu, bytes: used };
    left -= used - budget;
  }
  return { gpu: gpuPlan(model, found), bytes };
}

/** A layer on both sides, while neurons are moved. */
interface Assignment {
  hot: number;
  /** What each side's neurons take, in ms */
  coldMs: number;
  hotMs: number;
}

/**
 * Moves the next hottest neurons to the GPU, a block or an expert at a time, where
 * that saves most, while `left` bytes last. Only layers that are on both sides
 * change, and stay on both.
 */
function assignNeurons(
  model: Model,
  costs: Costs,
  { layers, neuronBytes }: Choices,
  left: number,
): GpuLayer[] {
  const assignments = layers.map(({ hot, order: { ids } }, i): Assignment => {
    const { cpu, gpu } = costs.layers[i].neurons;
    const coldMs = sumOver(cpu, ids.subarray(hot));
    return { hot, coldMs, hotMs: sumOver(gpu, ids.subarray(0, hot)) };
  });
  const blocks = layers.map(({ order }) => order.unit);
  const count = model.feedForwardSize;
  const ms = (i: number, { hot, coldMs, hotMs }: Assignment) => {
    const cold = { count: count - hot, ms: coldMs };
    const side = ffnMs(costs.layers[i], cold, { count: hot, ms: hotMs });
    return Math.max(side.cpu, side.gpu);
  };
  /** The layer with one block more on the GPU. */
  const next = (i: number, assigned: Assignment): Assignment => {
    const { cpu, gpu } = costs.layers[i].neurons;
    const hot = assigned.hot + blocks[i];
    let { coldMs, hotMs } = assigned;
    for (const id of layers[i].order.ids.subarray(assigned.hot, hot)) {
      coldMs -= cpu[id];
      hotMs += gpu[id];
    }
    return { hot, coldMs, hotMs };
  };
  for (;;) {
    let best = -1, most = 0;
    assignments.forEach((assigned, i) => {
      const bytes = blocks[i] * neuronBytes[i];
      if (assigned.hot === 0 || assigned.hot + blocks[i] >= count) return;
      if (bytes > left) return;
      const saved = ms(i, assigned) - ms(i, next(i, assigned));
      if (saved / bytes > most) {
        best = i;
        most = saved / bytes;
      }
    });
    if (best < 0) break;
    assignments[best] = next(best, assignments[best]);
    left -= blocks[best] * neuronBytes[best];
  }
  return layers.map((layer, i) => ({ ...layer, hot: assignments[i].hot }));
}

function solveAdditive(
  model: Model,
  costs: Costs,
  options: SolveOptions,
): Choices | undefined {
  const layerCount = model.layers.length;
  const { gpuLayers = Infinity } = options;
  const isLimited = gpuLayers < layerCount;
  const { groups, units } = resolution[isLimited ? "limited" : "all"];
  const sizes = deviceSizes(model, options.bytesOf);
  const layers = model.layers.map((_, i) => {
    const given = options.neurons?.[i];
    const orders = given
      ? [hotOrder(model, costs, i, given)]
      : ordersOf(model, costs, i);
    const steps = orders.map((order) => groupSize(model, order, groups));
    const choices = orders.flatMap((order, kind) =>
      layerChoices(costs, i, {
        order,
        hotCounts: given
          ? [given.length]
          : multiplesOf(steps[kind], model.feedForwardSize),
        routing: model.routing,
        ...sizes.layers[i],
      })
    );
    const groupBytes = Math.min(...steps) * sizes.layers[i].neuronBytes;
    return { choices: undominated(choices), groupBytes };
  });
  const unit = Math.max(
    1,
    Math.min(...layers.map(({ groupBytes }) => groupBytes)) / units,
    sizes.all / mostUnits,
  );
  const unitsOf = (bytes: number) => Math.ceil(bytes / unit - rounding);
  // Where all has room, rounding up must not leave the last layer out.
  const room = options.budget < sizes.all
    ? options.budget
    : sizes.all + (layerCount + 1) * unit;
  const vocabSides: Side[] = gpuLayers > layerCount ? ["cpu", "gpu"] : ["cpu"];
  let best: { ms: number; vocab: Side; choices: LayerChoice[] } | undefined;
  for (const vocab of vocabSides) {
    const left = Math.floor((room - sizes.fixed) / unit + rounding) -
      (vocab === "gpu" ? unitsOf(sizes.vocab) : 0);
    if (left < 0) continue;
    const found = shortestPath(costs, layers.map(({ choices }) => choices), {
      vocab,
      units: left,
      unitsOf,
      gpuLayers: isLimited ? gpuLayers : undefined,
    });
    if (found && !(best && best.ms <= found.ms)) best = { ...found, vocab };
  }
  if (!best) return undefined;
  const { vocab, choices } = best;
  if (vocab === "cpu" && !choices.some(usesGpu)) return undefined;
  return {
    layers: choices,
    vocab,
    neuronBytes: sizes.layers.map(({ neuronBytes }) => neuronBytes),
    grouped: !options.neurons &&
      choices.some(({ order }) => groupSize(model, order, groups) > order.unit),
  };
}

/** Neurons in a group of a layer: whole units. */
function groupSize(
  { feedForwardSize }: Model,
  { unit }: NeuronOrder,
  groups: number,
): number {
  return unit * Math.ceil(feedForwardSize / groups / unit);
}
