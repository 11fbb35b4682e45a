/**
 * A place's neurons on the CPU. A neuron whose gate is not positive adds
 * exactly zero, so its rows of up and down need not be read.
 *
 * @module
 */
import { isSparse, type Model } from "../../model/model.ts";
import { lengthOf, type PlacePlan } from "../../plan/plan.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import type { Batch } from "../batch.ts";
import type { Neurons } from "../place.ts";
import type { LayerCounts } from "../stats.ts";
import { Activations, allocateRows, type F32Rows } from "./matrix.ts";
import type { WasmMemory } from "./memory.ts";
import { roundUp } from "./packing.ts";
import type { LayerWeights } from "./weights.ts";

/** Activations by the number that the kernels know them by. */
const activationIds = { drelu: 0, reglu: 1, swiglu: 2 };

/**
 * Below this share of active rows picking them is faster than streaming all:
 * a picked row breaks the prefetcher's stream and reads at about 0.3 of the
 * streamed rate.
 */
const pickBelow = 0.3;

/** Scratch of one place's neurons; the weights are handed in by layer. */
export class FeedForward {
  readonly #gate: F32Rows;
  readonly #up: F32Rows;
  readonly #h: Activations;
  readonly #rankValues?: Activations;
  readonly #scores?: F32Rows;
  readonly #ids: number;
  /** Weights of the layer whose h stand in `#h` */
  #current!: LayerWeights;

  constructor(
    readonly model: Model,
    readonly plan: PlacePlan,
    readonly memory: WasmMemory,
    readonly counts: LayerCounts,
    readonly sparsity: Sparsity,
    readonly measureRecall: boolean,
    maxTokens: number,
    layers: readonly LayerWeights[],
  ) {
    const neurons = Math.max(
      ...plan.parts.map((part) => lengthOf(part.neurons)),
    );
    const columns = layers.map(({ ffn_down }) => ffn_down?.columns ?? 0);
    this.#gate = allocateRows(memory, maxTokens, neurons);
    this.#up = allocateRows(memory, maxTokens, neurons);
    this.#h = new Activations(
      memory,
      maxTokens,
      Math.max(neurons, ...columns),
    );
    this.#ids = memory.allocate(4 * roundUp(neurons, 8));
    if (sparsity.mode === "predictor") {
      const ranks = layers.map(({ fc1 }) => fc1?.rows ?? 0);
      this.#rankValues = new Activations(
        memory,
        maxTokens,
        Math.max(...ranks),
      );
      this.#scores = allocateRows(memory, maxTokens, neurons);
    }
  }

  /** Computes h of the normed `x`; `residual` is what the predictor reads. */
  hidden(
    layer: number,
    weights: LayerWeights,
    batch: Batch,
    x: Activations,
    residual: Activations,
  ): void {
    const n = batch.length;
    const neurons = weights.ffn_gate.rows;
    this.#current = weights;
    this.memory.clear(this.#h.pointer, n * this.#h.stride);
    this.counts.add(layer, "neurons", n * neurons);
    if (weights.fc1 && this.#scores) {
      this.#hiddenPredicted(layer, weights, n, x, residual);
    } else if (
      n === 1 && this.sparsity.mode !== "dense" &&
      isSparse(this.model.activation)
    ) {
      this.#streamGate(layer, weights, n, x);
      this.#pickUp(layer, weights, x);
      this.counts.add(layer, "active", this.#combine(0));
    } else {
      this.#streamGate(layer, weights, n, x);
      this.#streamUp(layer, weights, n, x);
      this.#countPositive(layer, neurons, n);
      for (let t = 0; t < n; t++) {
        this.counts.add(layer, "active", this.#combine(t));
      }
    }
    this.#h.changed();
    if (this.sparsity.mode === "threshold") {
      const { value } = this.sparsity;
      this.keepAbove(n, Array.from({ length: n }, () => value));
    }
  }

  /** h of each token, one view a token. */
  neurons(n: number): Neurons {
    const { rows, slice } = this.#current.ffn_gate;
    return {
      first: slice.rows.start,
      rows: Array.from(
        { length: n },
        (_, t) => this.memory.f32(this.#hOf(t), rows),
      ),
    };
  }

  /** Sets every |h| of token t that is not above `thresholds[t]` to zero. */
  keepAbove(n: number, thresholds: ArrayLike<number>): void {
    const { rows } = this.#current.ffn_gate;
    for (let t = 0; t < n; t++) {
      this.memory.kernels.keep_above(this.#hOf(t), rows, thresholds[t]);
    }
    this.#h.changed();
  }

  /** Writes the neurons' share of down into `out`. */
  down(
    layer: number,
    weights: LayerWeights,
    batch: Batch,
    out: F32Rows,
  ): void {
    const n = batch.length;
    const { ffn_down, ffn_down_t } = weights;
    if (ffn_down) {
      const bytes = ffn_down.multiply(this.#h, n, out);
      this.counts.add(layer, "downRows", n * weights.ffn_gate.rows);
      this.counts.add(layer, "bytes", bytes);
    } else if (ffn_down_t) {
      this.memory.clear(out.pointer, n * out.stride);
      const rows = ffn_down_t.addRows(this.#h, n, out);
      this.counts.add(layer, "downRows", n === 1 ? rows : n * rows);
      this.counts.add(layer, "bytes", rows * ffn_down_t.rowBytes);
    }
  }

  #streamGate(
    layer: number,
    { ffn_gate }: LayerWeights,
    n: number,
    x: Activations,
  ): void {
    const bytes = ffn_gate.multiply(x, n, this.#gate);
    this.counts.add(layer, "bytes", bytes);
    this.counts.add(layer, "gateRows", n * ffn_gate.rows);
  }

  #streamUp(
    layer: number,
    { ffn_up }: LayerWeights,
    n: number,
    x: Activations,
  ): void {
    const bytes = ffn_up.multiply(x, n, this.#up);
    this.counts.add(layer, "bytes", bytes);
    this.counts.add(layer, "upRows", n * ffn_up.rows);
  }

  /** Computes up where the one token's gate is positive, or everywhere if those are many. */
  #pickUp(layer: number, weights: LayerWeights, x: Activations): void {
    const { rows } = weights.ffn_up;
    const { kernels } = this.memory;
    const count = kernels.select_positive(this.#gate.pointer, rows, this.#ids);
    this.counts.add(layer, "gatePositive", count);
    if (count >= pickBelow * rows) return this.#streamUp(layer, weights, 1, x);
    const bytes = weights.ffn_up.multiplyRows(
      x,
      this.#ids,
      count,
      this.#up.pointer,
    );
    this.counts.add(layer, "bytes", bytes);
    this.counts.add(layer, "upRows", count);
  }

  /**
   * One token: only the rows that the predictor asks for. Several: their
   * union is most of the layer, so everything is streamed and the rest dropped.
   */
  #hiddenPredicted(
    layer: number,
    weights: LayerWeights,
    n: number,
    x: Activations,
    residual: Activations,
  ): void {
    const { kernels } = this.memory;
    const neurons = weights.ffn_gate.rows;
    const threshold = this.#score(layer, weights, n, residual);
    const picks = n === 1 && !this.measureRecall;
    if (picks) {
      const count = kernels.select_at_least(
        this.#scores!.pointer,
        neurons,
        threshold,
        this.#ids,
      );
      this.memory.clear(this.#gate.pointer, neurons);
      const bytes = weights.ffn_gate.multiplyRows(
        x,
        this.#ids,
        count,
        this.#gate.pointer,
      );
      this.counts.add(layer, "bytes", bytes);
      this.counts.add(layer, "gateRows", count);
      this.counts.add(layer, "predicted", count);
      this.#pickUp(layer, weights, x);
    } else {
      this.#streamGate(layer, weights, n, x);
      this.#streamUp(layer, weights, n, x);
      for (let t = 0; t < n; t++) {
        if (this.measureRecall) {
          this.counts.add(layer, "truth", this.#combine(t));
        }
        this.#dropUnpredicted(layer, neurons, t, threshold);
      }
      this.#countPositive(layer, neurons, n);
    }
    for (let t = 0; t < n; t++) {
      const active = this.#combine(t);
      this.counts.add(layer, "active", active);
      if (this.measureRecall) this.counts.add(layer, "recalled", active);
    }
  }

  /** score = fc2 · relu(fc1 · x); returns the score from which a neuron is computed. */
  #score(
    layer: number,
    { fc1, fc2 }: LayerWeights,
    n: number,
    residual: Activations,
  ): number {
    const z = this.#rankValues!;
    residual.changed();
    let bytes = fc1!.multiply(residual, n, z);
    this.memory.kernels.relu(z.pointer, n * z.stride);
    z.changed();
    bytes += fc2!.multiply(z, n, this.#scores!);
    this.counts.add(layer, "bytes", bytes);
    return this.sparsity.mode === "predictor"
      ? this.sparsity.threshold ?? this.model.sparseThreshold
      : -Infinity;
  }

  #dropUnpredicted(
    layer: number,
    neurons: number,
    t: number,
    threshold: number,
  ): void {
    const at = (rows: F32Rows) =>
      this.memory.f32(rows.pointer + 4 * t * rows.stride, neurons);
    const gate = at(this.#gate), scores = at(this.#scores!);
    let predicted = 0;
    for (let j = 0; j < neurons; j++) {
      if (scores[j] >= threshold) predicted++;
      else gate[j] = 0;
    }
    this.counts.add(layer, "predicted", predicted);
  }

  /** h = activation(gate, up) of one token; returns how many are not zero. */
  #combine(t: number): number {
    return this.memory.kernels.gated(
      activationIds[this.model.activation],
      this.#gate.pointer + 4 * t * this.#gate.stride,
      this.#up.pointer + 4 * t * this.#up.stride,
      this.#hOf(t),
      this.#current.ffn_gate.rows,
    );
  }

  #countPositive(layer: number, neurons: number, n: number): void {
    for (let t = 0; t < n; t++) {
      const count = this.memory.kernels.select_positive(
        this.#gate.pointer + 4 * t * this.#gate.stride,
        neurons,
        this.#ids,
      );
      this.counts.add(layer, "gatePositive", count);
    }
  }

  /** Where the h of one token begin: at the place's own columns of `ffn_down`. */
  #hOf(t: number): number {
    const { ffn_down, ffn_gate } = this.#current;
    const first = ffn_down
      ? ffn_gate.slice.rows.start - ffn_down.slice.columns.start
      : 0;
    return this.#h.pointer + 4 * (t * this.#h.stride + first);
  }
}
