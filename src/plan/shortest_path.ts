/**
 * The solver's shortest path through a model's layers, with limits on memory
 * and on the layers that use it.
 *
 * @module
 */
import type { Costs } from "./costs.ts";
import { type LayerChoice, transferMs, usesGpu } from "./layer_choices.ts";
import { type Side, sides } from "./schedule.ts";

/** What limits a path. */
export interface PathOptions {
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
    const trail = {
      cpu: new Uint16Array(rows * width),
      gpu: new Uint16Array(rows * width),
    };
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
