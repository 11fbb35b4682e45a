/**
 * The ways to share one layer between CPU and GPU, what each costs, and the
 * shortest path through the choices of all layers.
 */
import type { Routing } from "../model/experts.ts";
import { type Costs, exchangeMs } from "./costs.ts";
import type { GpuLayer, NeuronOrder } from "./gpu_plan.ts";
import { ffnMs } from "./prediction.ts";
import { type Side, sides } from "./schedule.ts";

/** One way to share a layer: how many of its neurons are on the GPU, by one of its orders. */
export interface LayerChoice extends GpuLayer {
  /** What this takes on the device */
  readonly bytes: number;
  /** The time in ms, by the side that has the residual before */
  readonly ms: Readonly<Record<Side, number>>;
  /** The side that has the residual after */
  readonly exit: Side;
}

/** Whether a choice puts anything on the GPU. */
export function usesGpu(
  { attention, hot }: Pick<GpuLayer, "attention" | "hot">,
): boolean {
  return attention === "gpu" || hot > 0;
}

/** What may be chosen of a layer. */
interface ChoiceOptions {
  /** The order in which its neurons go to the GPU */
  readonly order: NeuronOrder;
  /** How many of these the GPU may hold, ascending */
  readonly hotCounts: readonly number[];
  /** Bytes on the device of all heads, and of a neuron */
  readonly attentionBytes: number;
  readonly neuronBytes: number;
  /** How its experts are chosen, where it has several */
  readonly routing?: Routing;
}

/** 0, `step`, twice that and so on, and `end`. */
export function multiplesOf(step: number, end: number): number[] {
  return Array.from(
    { length: Math.ceil(end / step) + 1 },
    (_, i) => Math.min(end, i * step),
  );
}

/** All choices of a layer by one of its orders. */
export function layerChoices(
  costs: Costs,
  layer: number,
  { order, hotCounts, attentionBytes, neuronBytes, routing }: ChoiceOptions,
): LayerChoice[] {
  const layerCosts = costs.layers[layer];
  const { neurons: { cpu, gpu }, attention } = layerCosts;
  const { ids } = order;
  let coldMs = cpu.reduce((a, b) => a + b, 0), hotMs = 0;
  let counted = 0;
  const choices: LayerChoice[] = [];
  for (const hot of hotCounts) {
    for (; counted < hot; counted++) {
      coldMs -= cpu[ids[counted]];
      hotMs += gpu[ids[counted]];
    }
    const cold = ids.length - hot;
    const ffn = ffnMs(
      layerCosts,
      { count: cold, ms: Math.max(0, coldMs) },
      { count: hot, ms: hotMs },
    );
    for (const side of sides) {
      const both = hot > 0 && cold > 0;
      const other = hot > 0 ? "gpu" : "cpu";
      // Both sides need the residual; the GPU then adds the CPU's sum to its own.
      const handed = both
        ? transferMs(costs, side, side === "cpu" ? "gpu" : "cpu") +
          (routing ? exchangeMs(costs, "choices") : 0) +
          layerCosts.squares.ffn + exchangeMs(costs, "sum-to-gpu")
        : transferMs(costs, side, other);
      const time = attention[side] + handed + Math.max(ffn.cpu, ffn.gpu);
      // A router that reads the layer's input needs it where it is.
      const router: Side = cold > 0 ? "cpu" : "gpu";
      const readers = routing?.readsLayerInput ? [side, router] : [side];
      const before = (from: Side) =>
        transferMs(costs, from, readers.find((to) => to !== from) ?? from);
      choices.push({
        attention: side,
        order,
        hot,
        bytes: (side === "gpu" ? attentionBytes : 0) + hot * neuronBytes,
        ms: {
          cpu: before("cpu") + time,
          gpu: before("gpu") + time,
        },
        exit: other,
      });
    }
  }
  return choices;
}

/** What it takes, in ms, until the residual that `from` has is at `to`. */
export function transferMs(costs: Costs, from: Side, to: Side): number {
  return from === to ? 0 : exchangeMs(costs, `residual-to-${to}`);
}

/** Leaves choices out that another is as good as or better than in every respect, use of the GPU at all included. */
export function undominated(choices: readonly LayerChoice[]): LayerChoice[] {
  const kept: LayerChoice[] = [];
  const ascending = choices.toSorted((a, b) =>
    a.bytes - b.bytes || a.ms.cpu - b.ms.cpu
  );
  for (const choice of ascending) {
    const isWorse = kept.some((other) =>
      other.exit === choice.exit && (usesGpu(choice) || !usesGpu(other)) &&
      other.ms.cpu <= choice.ms.cpu && other.ms.gpu <= choice.ms.gpu
    );
    if (!isWorse) kept.push(choice);
  }
  return kept;
}

/** What choices for all layers come to, in ms, embedding and output head included. */
export function pathMs(
  costs: Costs,
  choices: readonly LayerChoice[],
  vocab: Side,
): number {
  let ms = costs.embed[vocab] + costs.head[vocab];
  let side = vocab;
  for (const choice of choices) {
    ms += choice.ms[side];
    side = choice.exit;
  }
  return ms + transferMs(costs, side, vocab);
}

/** What limits a path. */
interface PathOptions {
  /** The side that has the residual at first, and at last computes the head */
  readonly vocab: Side;
  /** Units of memory for all layers together */
  readonly units: number;
  readonly unitsOf: (bytes: number) => number;
  /** Most layers that use the GPU, where that is fewer than there are */
  readonly gpuLayers?: number;
}

/**
 * One choice for each layer, of the least total time; undefined where no choices
 * fit. States are the side that has the residual, the layers that used the GPU
 * where they are limited, and the units of memory used at most.
 */
export function shortestPath(
  costs: Costs,
  layers: readonly (readonly LayerChoice[])[],
  { vocab, units, unitsOf, gpuLayers }: PathOptions,
): { ms: number; choices: LayerChoice[] } | undefined {
  const width = units + 1;
  const rows = (gpuLayers ?? 0) + 1;
  const states = () => new Float64Array(rows * width).fill(Infinity);
  let times = { cpu: states(), gpu: states() };
  times[vocab].fill(0);
  // Of each state after each layer, by side: 2 · choice + the side before.
  const trails = layers.map((choices) => {
    const next = { cpu: states(), gpu: states() };
    const marks = () => new Uint16Array(rows * width);
    const trail = { cpu: marks(), gpu: marks() };
    choices.forEach((choice, index) => {
      const weight = unitsOf(choice.bytes);
      const counted = gpuLayers !== undefined && usesGpu(choice) ? 1 : 0;
      const to = next[choice.exit], marks = trail[choice.exit];
      sides.forEach((side, sideIndex) => {
        const from = times[side], ms = choice.ms[side];
        const mark = 2 * index + sideIndex;
        for (let row = counted; row < rows; row++) {
          const end = (row + 1) * width;
          const back = counted * width + weight;
          for (let i = row * width + weight; i < end; i++) {
            const time = from[i - back] + ms;
            if (time < to[i]) {
              to[i] = time;
              marks[i] = mark;
            }
          }
        }
      });
    });
    times = next;
    return trail;
  });
  const ends = sides.map((side) =>
    times[side].at(-1)! + transferMs(costs, side, vocab)
  );
  let side = ends[0] <= ends[1] ? sides[0] : sides[1];
  let state = rows * width - 1;
  const ms = Math.min(...ends) + costs.embed[vocab] + costs.head[vocab];
  if (ms === Infinity) return undefined;
  const choices: LayerChoice[] = [];
  for (let layer = layers.length - 1; layer >= 0; layer--) {
    const mark = trails[layer][side][state];
    const choice = layers[layer][mark >> 1];
    choices.unshift(choice);
    state -= unitsOf(choice.bytes);
    if (gpuLayers !== undefined && usesGpu(choice)) state -= width;
    side = sides[mark & 1];
  }
  return { ms, choices };
}
