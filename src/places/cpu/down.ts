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

/** A layer, while it is computed. */
export interface Layer {
  readonly index: number;
  /** Tokens of the step */
  readonly n: number;
  readonly experts: readonly ExpertTokens[];
  /** Whether down's share is there already */
  done: boolean;
}

/** An expert of a token, and its row of h. */
interface ChosenRow extends Pick<ExpertTokens, "expert" | "own"> {
  readonly row: number;
}

/** Scratch of one bank's down. */
export class Down {
  /** By layer, where down has a row for each neuron */
  readonly groups: readonly (GroupRows | undefined)[];
  /** h of a token, where its experts' rows lie among those of all, where rows are added up */
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
      sumsRows ? 1 : 0,
      neurons * expertCount,
    );
    this.#outputs = allocateRows(memory, routing ? tokens : 0, hiddenSize);
    this.#columns = new DownColumns(memory, model, tokens, parts, layers);
  }

  /** Writes h of a layer to the columns of `ffn_down` in `rows`, `[tokens, stride]`. */
  put(layer: Layer, rows: Float32Array): void {
    const order = this.#rowOrder(layer), stride = this.#stride(layer, rows);
    this.#columns.put(layer.index, this.h, order, rows, stride);
  }

  /** Takes h of all places. */
  take(layer: Layer, rows: Float32Array): void {
    const order = this.#rowOrder(layer), stride = this.#stride(layer, rows);
    this.#columns.take(layer.index, order, rows, stride);
  }

  /** Floats of `rows` from one row to the next, of all that a token chose. */
  #stride({ n }: Layer, rows: Float32Array): number {
    return rows.length / (n * this.#used);
  }

  /** Experts that a token chooses */
  get #used(): number {
    return this.options.model.routing?.used ?? 1;
  }

  /** For each row of h, which row it is where those of one token lie together. */
  #rowOrder({ experts }: Layer): number[] {
    const used = this.#used;
    return experts.flatMap(({ tokens, slots }) =>
      tokens.map((token, t) => token * used + slots[t])
    );
  }

  /** Writes the place's share into the bank's sums; returns in how many terms. */
  run(layer: Layer): number {
    const { index, n, done } = layer;
    const { ffn_down } = this.#weights(layer);
    if (ffn_down) {
      this.#multiply(layer);
      return 1;
    }
    const groups = this.groups[index]!;
    if (!done) {
      if (this.options.model.routing) this.#addExpertRows(layer, groups);
      else {
        const read = this.#addRows(layer, groups);
        this.#countRows(layer, read, n);
      }
    }
    return groups.terms;
  }

  /** Adds up the rows whose h is not zero, where all of them are in memory or some. */
  #addRows({ index, n }: Layer, groups: GroupRows): number {
    const { sums, neurons, weights } = this.bank;
    const rows = weights.experts[index]![0].ffn_down_t!;
    return neurons?.holds(rows)
      ? neurons.addRows(rows, groups, this.h, n)
      : sums.addRows(rows, groups, this.h, n);
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
    for (const { expert, own, tokens, first } of experts) {
      ahead?.delete(expert);
      const slot = cache?.slot("down", index, expert, ahead!) ?? own;
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

  /**
   * Adds up rows of the experts that each token chose, token after token: of
   * those that others chose none is asked for.
   */
  #addExpertRows(layer: Layer, groups: GroupRows): void {
    const { index, n, experts } = layer;
    const { memory, sums, experts: cache } = this.bank, { rows } = groups;
    const all = this.#rows(layer);
    const ofTokens = Array.from({ length: n }, (): ChosenRow[] => []);
    for (const { expert, own, tokens, first } of experts) {
      tokens.forEach((token, t) =>
        ofTokens[token].push({ expert, own, row: first + t })
      );
    }
    const wide = memory.f32(this.#wide.pointer, this.#wide.stride);
    ofTokens.forEach((chosen, token) => {
      const kept = cache && new Set(chosen.map(({ expert }) => expert));
      const slots = chosen.map(({ expert, own }) =>
        cache?.slot("down", index, expert, kept!) ?? own
      );
      chosen.forEach(({ row }, i) => {
        const own = memory.f32(rowAt(this.h, row), rows);
        wide.set(own, slots[i] * rows);
      });
      groups.choose(slots);
      const read = sums.addRows(all, groups, this.#wide, 1, token);
      this.#countRows(layer, read, 1);
    });
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
