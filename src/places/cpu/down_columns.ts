/**
 * The input of a down matrix that has a row for each output: h of a place's
 * neurons, put back from the order in which they are stored into the file's,
 * at the columns of the matrix that the place holds.
 *
 * @module
 */
import { numbering } from "../../model/index_set.ts";
import { neuronsInOrder, type Part } from "../../plan/plan.ts";
import { Activations } from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { LayerWeights } from "./weights.ts";

/** Room for the input, and where each neuron of each layer goes in it. */
export class DownColumns {
  readonly #input: Activations;
  /** By layer, the column of each stored neuron; left out where neurons are stored as columns are */
  readonly #columns: readonly (Uint32Array | undefined)[];

  /** Room for `maxTokens` rows. */
  constructor(
    readonly memory: WasmMemory,
    maxTokens: number,
    parts: readonly Part[],
    layers: readonly (LayerWeights | undefined)[],
  ) {
    const widths = layers.map((layer) => layer?.ffn_down?.columns ?? 0);
    this.#input = new Activations(memory, maxTokens, Math.max(0, ...widths));
    this.#columns = layers.map((layer, i) => {
      if (!layer?.ffn_down) return undefined;
      const columns = neuronsInOrder(parts[i])
        .map(numbering(layer.ffn_down.shard.columns));
      const isInOrder = columns.length === layer.ffn_down.columns &&
        columns.every((column, neuron) => column === neuron);
      return isInOrder ? undefined : columns;
    });
  }

  /** The input of a layer's `ffn_down` for the first `n` rows of `h`; zero where the place has no neuron. */
  fill(layer: number, width: number, h: Activations, n: number): Activations {
    const columns = this.#columns[layer];
    if (!columns) return h;
    const input = this.#input;
    this.memory.clear(input.pointer, n * input.stride);
    for (let t = 0; t < n; t++) {
      const from = this.memory.f32(
        h.pointer + 4 * t * h.stride,
        columns.length,
      );
      const to = this.memory.f32(input.pointer + 4 * t * input.stride, width);
      for (let i = 0; i < from.length; i++) to[columns[i]] = from[i];
    }
    input.changed();
    return input;
  }
}
