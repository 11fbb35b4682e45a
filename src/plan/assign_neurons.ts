/**
 * What rounding to groups leaves of a budget, given to single neurons.
 *
 * @module
 */
import type { Model } from "../model/model.ts";
import { type Costs, neuronBlock } from "./costs.ts";
import type { GpuLayer } from "./gpu_plan.ts";
import { ffnMs } from "./prediction.ts";

/** A layer on both sides, while neurons are moved. */
interface Assignment {
  hot: number;
  /** What each side's neurons take, in ms */
  coldMs: number;
  hotMs: number;
}

/**
 * Moves the next hottest neurons to the GPU, a block at a time, where that
 * saves most, while `left` bytes last. Only layers that are on both sides
 * change, and stay on both.
 */
export function assignNeurons(
  model: Model,
  costs: Costs,
  orders: readonly Uint32Array[],
  layers: readonly GpuLayer[],
  neuronBytes: readonly number[],
  left: number,
): GpuLayer[] {
  const assignments = layers.map(({ hot }, i): Assignment => {
    const { cpu, gpu } = costs.layers[i].neurons;
    const sum = (ms: Float64Array, ids: Uint32Array) =>
      ids.reduce((total, id) => total + ms[id], 0);
    return {
      hot,
      coldMs: sum(cpu, orders[i].subarray(hot)),
      hotMs: sum(gpu, orders[i].subarray(0, hot)),
    };
  });
  const blocks = model.layers.map(neuronBlock);
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
    for (const id of orders[i].subarray(assigned.hot, hot)) {
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
  return layers.map(({ attention }, i) => ({
    attention,
    hot: assignments[i].hot,
  }));
}
