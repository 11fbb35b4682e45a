/**
 * What a place's neurons add to the residual: down of h. Where it has a row for
 * each neuron, those rows are added up whose h is not zero; where it has a row
 * for each output, it is multiplied.
 */
import {
  type Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
  rowAt,
} from "../../kernels/matrix.ts";
import type { CountName } from "../stats.ts";
import { DownColumns } from "./down_columns.ts";
import { GroupRows } from "./group_rows.ts";
import type { Bank, Counters, CpuPlaceOptions } from "./options.ts";
import { type ExpertTokens, idsOf } from "./router.ts";
import type { LayerWeights } from "./weights.ts";

/** Tokens whose rows of down are added up at once, where there are experts: bounds the room of their h. */
const mostTokens = 16;

/** A layer, while it is computed. */
export interface Layer {
  readonly index: number;
  /** Tokens of the step */
  readonly n: number;
  readonly experts: readonly ExpertTokens[];
  /** Whether down's share is there already */
  done: boolean;
}

/** The experts that some of `count` tokens from `first` on chose. */
function presentIn(
  { experts }: Layer,
  first: number,
  count: number,
): ExpertTokens[] {
  return experts.filter(({ tokens }) =>
    tokens.some((token) => token >= first && token < first + count)
  );
}

/** Scratch of one bank's down. */
export class Down {
  /** By layer, where down has a row for each neuron */
  readonly groups: readonly (GroupRows | undefined)[];
  /** Of some tokens, h of the neurons of all experts, where rows are added up */
  readonly #wide: F32Rows;
  /** What one expert's down makes of its tokens */
  readonly #outputs: F32Rows;
  readonly #columns: DownColumns;

  constructor(
    readonly options: CpuPlaceOptions,
    readonly bank: Bank,
    readonly counters: Counters,
    /** A row for each token of each expert */
    readonly h: Activations,
    /** Most that an expert has here */
    neurons: number,
  ) {
    const { memory, weights: { layers } } = bank;
    const { model, plan: { parts }, limits: { tokens } } = options;
    const { expertCount, hiddenSize, routing } = model;
    this.groups = layers.map((weights, i) =>
      weights?.ffn_down_t && new GroupRows(memory, model, parts[i])
    );
    const sumsRows = routing && layers.some((layer) => layer?.ffn_down_t);
    this.#wide = allocateRows(
      memory,
      sumsRows ? Math.min(mostTokens, tokens) : 0,
      neurons * expertCount,
    );
    this.#outputs = allocateRows(memory, routing ? tokens : 0, hiddenSize);
    this.#columns = new DownColumns(memory, model, tokens, parts, layers);
  }

  /** Writes h of a layer to the columns of `ffn_down` in `rows`, `[tokens, stride]`. */
  put(layer: Layer, rows: Float32Array): void {
    this.#columns.put(layer.index, this.h, this.#rowOrder(layer), rows);
  }

  /** Takes h of all places. */
  take(layer: Layer, rows: Float32Array): void {
    this.#columns.take(layer.index, this.#rowOrder(layer), rows);
  }

  /** For each row of h, which row it is where those of one token lie together. */
  #rowOrder({ experts }: Layer): number[] {
    const used = this.options.model.routing?.used ?? 1;
    return experts.flatMap(({ tokens, slots }) =>
      tokens.map((token, t) => token * used + slots[t])
    );
  }

  /** Writes the place's share into the bank's sums; returns in how many terms. */
  run(layer: Layer): number {
    const { index, n, done } = layer, { sums } = this.bank;
    const { ffn_down } = this.#weights(layer);
    if (ffn_down) {
      this.#multiply(layer);
      return 1;
    }
    const groups = this.groups[index]!;
    if (!done) {
      if (this.options.model.routing) this.#addExpertRows(layer, groups);
      else {
        const read = sums.addRows(this.#rows(layer), groups, this.h, n);
        this.#countRows(layer, read, n);
      }
    }
    return groups.terms;
  }

  /** What is added to a layer's sum. */
  bias(layer: Layer): Pick<PackedMatrix, "addTo"> | undefined {
    const { ffn_down_bias } = this.#weights(layer);
    if (!ffn_down_bias || !this.options.model.routing) return ffn_down_bias;
    return {
      addTo: (rows) => {
        for (const tokens of layer.experts) this.#addBias(layer, tokens, rows);
      },
    };
  }

  /** Adds the bias of an expert's down, as far as it counts for each of its tokens. */
  #addBias(
    layer: Layer,
    { expert, tokens, weights }: ExpertTokens,
    rows: F32Rows,
  ): void {
    const { memory } = this.bank, { hiddenSize } = this.options.model;
    const { ffn_down_bias } = this.#weights(layer);
    const scratch = this.#outputs.pointer;
    const bias = memory.f32(
      ffn_down_bias!.pointer + 4 * expert * hiddenSize,
      hiddenSize,
    );
    tokens.forEach((token, t) => {
      memory.f32(scratch, hiddenSize).set(bias);
      memory.kernels.scale(scratch, hiddenSize, weights![t]);
      memory.kernels.add(rowAt(rows, token), scratch, hiddenSize);
    });
  }

  /** By rows of outputs, expert after expert. */
  #multiply(layer: Layer): void {
    const { index, n, experts } = layer, { memory, sums } = this.bank;
    const { outputs } = this.options.plan;
    const order = this.#rowOrder(layer);
    const h = outputs
      ? this.#columns.taken()
      : this.#columns.fill(index, this.h, order);
    const [sum] = sums.levels;
    const isOne = !this.options.model.routing;
    if (!isOne) memory.clear(sum.pointer, n * sum.stride);
    const cache = this.bank.experts, ahead = cache && idsOf(experts);
    for (const { expert, tokens, first } of experts) {
      ahead?.delete(expert);
      const slot = cache?.slot("down", index, expert, ahead!) ?? expert;
      const { ffn_down, ffn_up } = this.bank.weights.experts[index]![slot];
      const { rows } = ffn_down!, count = tokens.length;
      const from = 4 * (outputs?.start ?? 0);
      const { pointer, stride } = isOne ? sum : this.#outputs;
      const out = { pointer: pointer + from, stride };
      const input = h.rowsFrom(first, order.length);
      this.#count(layer, "streamed", ffn_down!.multiply(input, count, out));
      this.#count(layer, "downRows", count * ffn_up.rows);
      if (isOne) continue;
      tokens.forEach((token, t) =>
        memory.kernels.add(rowAt(sum, token) + from, rowAt(out, t), rows)
      );
    }
  }

  /** Adds up rows of the experts that tokens chose, some tokens at a time. */
  #addExpertRows(layer: Layer, groups: GroupRows): void {
    const { index, n } = layer, { memory, sums, experts: cache } = this.bank;
    const { rows } = groups, wide = this.#wide;
    for (let first = 0, count; first < n; first += count) {
      count = this.#tokensAtOnce(layer, first);
      const isHere = (token: number) => token >= first && token < first + count;
      const present = presentIn(layer, first, count);
      const kept = idsOf(present);
      const slots = present.map(({ expert }) =>
        cache?.slot("down", index, expert, kept) ?? expert
      );
      for (const [i, { tokens, first: row }] of present.entries()) {
        const column = 4 * slots[i] * rows;
        for (let t = 0; t < count; t++) {
          memory.clear(rowAt(wide, t) + column, rows);
        }
        tokens.forEach((token, t) => {
          if (!isHere(token)) return;
          const own = memory.f32(rowAt(this.h, row + t), rows);
          memory.f32(rowAt(wide, token - first) + column, rows).set(own);
        });
      }
      groups.choose(slots);
      const all = this.#rows(layer);
      const read = sums.addRows(all, groups, wide, count, first);
      this.#countRows(layer, read, count);
    }
  }

  /** How many tokens from `first` on: the rows of all their experts are to be in memory. */
  #tokensAtOnce(layer: Layer, first: number): number {
    const { experts: cache } = this.bank;
    let count = Math.min(mostTokens, layer.n - first);
    const fits = () =>
      cache!.fits(layer.index, [...idsOf(presentIn(layer, first, count))]);
    while (cache && count > 1 && !fits()) count--;
    return count;
  }

  /** Rows of neurons. */
  #rows(layer: Layer): PackedMatrix {
    return this.#weights(layer).ffn_down_t!;
  }

  #countRows(layer: Layer, rows: number, tokens: number): void {
    this.#count(layer, "picked", rows * this.#rows(layer).rowBytes);
    this.#count(layer, "downRows", tokens * rows);
  }

  /** Those of all experts. */
  #weights({ index }: Layer): LayerWeights {
    return this.bank.weights.layers[index]!;
  }

  #count({ index }: Layer, name: CountName, amount: number): void {
    this.counters.layers.add(index, name, amount);
  }
}
