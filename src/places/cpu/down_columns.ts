/**
 * The input of a down matrix that has a row for each output: h of a place's
 * neurons, put back from the order in which they are stored into the file's,
 * at the columns of the matrix that the place holds. Where it computes some
 * outputs of all neurons, places hand one another those columns. Each expert
 * of a token has a row of its own.
 */
import {
  compact,
  complementOf,
  type IndexSet,
  isList,
  lengthOf,
  listOf,
  numbering,
} from "../../model/index_set.ts";
import { withinExpert } from "../../model/experts.ts";
import type { Model } from "../../model/model.ts";
import { neuronsInOrder, type Part } from "../../plan/plan.ts";
import { Activations, type F32Rows } from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { LayerWeights } from "./weights.ts";

const noColumns = new Uint32Array(0);

/** Room for the input, and where each neuron of each layer goes in it. */
export class DownColumns {
  readonly #input: Activations;
  /** By layer, the column of each stored neuron: a range in the file's order; left out where the layer has no such matrix */
  readonly #columns: readonly (IndexSet | undefined)[];
  /** By layer, columns that no neuron on the CPU goes to */
  readonly #gaps: readonly Uint32Array[];

  /** Room for `maxTokens` tokens. */
  constructor(
    readonly memory: WasmMemory,
    model: Model,
    maxTokens: number,
    parts: readonly Part[],
    layers: readonly (LayerWeights | undefined)[],
  ) {
    const widths = layers.map((layer) => layer?.ffn_down?.columns ?? 0);
    const maxRows = maxTokens * (model.routing?.used ?? 1);
    this.#input = new Activations(memory, maxRows, Math.max(0, ...widths));
    this.#columns = layers.map((layer, i) => {
      if (!layer?.ffn_down) return undefined;
      const { firing, neurons } = parts[i];
      const ids = firing
        ? neuronsInOrder(parts[i])
        : listOf(withinExpert(model, neurons));
      const columns = ids
        .map(numbering(layer.ffn_down.shard.columns));
      return firing ? columns : compact(columns);
    });
    this.#gaps = layers.map((layer, i) => {
      if (!layer?.ffn_down) return noColumns;
      const { neurons, inputs = { neurons } } = parts[i];
      const { columns } = layer.ffn_down.shard;
      const taken = listOf(withinExpert(model, inputs.neurons))
        .map(numbering(columns));
      return listOf(complementOf(taken, lengthOf(columns)));
    });
  }

  /** Writes the rows of `h` to their columns of `rows`, each `stride` long: to the one that `order` says. */
  put(
    layer: number,
    h: F32Rows,
    order: readonly number[],
    rows: Float32Array,
    stride: number,
  ): void {
    const columns = this.#columns[layer]!;
    const count = lengthOf(columns);
    order.forEach((to, row) => {
      const from = this.memory.f32(h.pointer + 4 * row * h.stride, count);
      const start = to * stride;
      if (!isList(columns)) rows.set(from, start + columns.start);
      else for (let i = 0; i < count; i++) rows[start + columns[i]] = from[i];
    });
  }

  /** Takes the columns of all neurons on the CPU. */
  take(
    layer: number,
    order: readonly number[],
    rows: Float32Array,
    stride: number,
  ): void {
    const input = this.#input;
    const width = Math.min(stride, input.stride);
    order.forEach((from, row) => {
      const to = this.memory.f32(input.pointer + 4 * row * input.stride, width);
      to.set(rows.subarray(from * stride, from * stride + width));
      for (const column of this.#gaps[layer]) to[column] = 0;
    });
  }

  /** The input of a layer's `ffn_down` of what stands in the rows of `h`; zero where the place has no neuron. */
  fill(layer: number, h: Activations, order: readonly number[]): Activations {
    const columns = this.#columns[layer]!;
    const isWhole = !isList(columns) && this.#gaps[layer].length === 0;
    if (isWhole) return h;
    const { pointer, stride } = this.#input, n = order.length;
    this.memory.clear(pointer, n * stride);
    const inOrder = order.map((_, row) => row);
    this.put(layer, h, inOrder, this.memory.f32(pointer, n * stride), stride);
    return this.taken();
  }

  /** The input that was taken. */
  taken(): Activations {
    this.#input.changed();
    return this.#input;
  }
}
