/**
 * A place that computes with the WASM kernels, in the thread that calls it.
 *
 * @module
 */
import type { Kernels } from "../../../wasm/kernels.d.ts";
import type { Model } from "../../model/model.ts";
import { ropeFrequencies } from "../../model/rope.ts";
import type { PlacePlan } from "../../plan/plan.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import type { Batch, BatchLimits } from "../batch.ts";
import type { Neurons, Place } from "../place.ts";
import {
  type PlaceSlices,
  type Rows,
  type Slice,
  slicesOf,
} from "../slices.ts";
import { LayerCounts } from "../stats.ts";
import { Attention } from "./attention.ts";
import { FeedForward } from "./feed_forward.ts";
import type { CacheType } from "./kv_cache.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "./matrix.ts";
import { WasmMemory } from "./memory.ts";
import { PackedWeights } from "./weights.ts";

/** What a CPU place is made of, all of it fit to be posted to a worker. */
export interface CpuPlaceOptions {
  readonly model: Model;
  readonly plan: PlacePlan;
  readonly sparsity: Sparsity;
  readonly limits: BatchLimits;
  readonly cacheType: CacheType;
  /** Count what the predictor misses, at the price of computing everything. */
  readonly measureRecall: boolean;
}

/** Holds its parts packed in one WASM memory. */
export class CpuPlace implements Place {
  /** Bytes of packed weights. */
  readonly weightBytes: number;
  /** What it asks the loader for; `write` takes the rows. */
  readonly slices: PlaceSlices;
  readonly #options: CpuPlaceOptions;
  readonly #memory: WasmMemory;
  readonly #weights: PackedWeights;
  readonly #residual: Activations;
  readonly #partial: F32Rows;
  readonly #normed: Activations;
  readonly #logits: F32Rows;
  #attention!: Attention;
  #feedForward!: FeedForward;

  /** Makes room for the weights; they come by {@linkcode write}, then {@linkcode ready}. */
  constructor(
    kernels: Kernels,
    options: CpuPlaceOptions,
    readonly counts: LayerCounts = new LayerCounts(options.model.layers.length),
  ) {
    const { model, plan, limits } = options;
    this.#options = options;
    this.slices = slicesOf(model, plan);
    const memory = this.#memory = new WasmMemory(kernels);
    this.#weights = new PackedWeights(memory, this.slices);
    this.weightBytes = this.#weights.byteLength;
    const { tokens } = limits;
    this.#residual = new Activations(memory, tokens, model.hiddenSize);
    this.#normed = new Activations(memory, tokens, model.hiddenSize);
    this.#partial = allocateRows(memory, tokens, model.hiddenSize);
    this.#logits = allocateRows(memory, tokens, this.#weights.output.rows);
  }

  /** Takes some rows of one of its slices, as they stand in the file. */
  write(slice: Slice, rows: Rows): void {
    this.#weights.write(slice, rows);
  }

  /** Call when every slice is written: makes the scratch and the KV cache. */
  ready(): void {
    const { model, plan, limits, cacheType, sparsity, measureRecall } =
      this.#options;
    const { layers, rope_freqs } = this.#weights;
    const factors = rope_freqs &&
      this.#memory.f32(rope_freqs.pointer, rope_freqs.columns).slice();
    this.#attention = new Attention(
      model,
      plan,
      this.#memory,
      this.counts,
      ropeFrequencies(model, factors),
      { maxTokens: limits.tokens, contextSize: limits.contextSize, cacheType },
      Math.max(...layers.map(({ attn_output }) => attn_output.columns)),
    );
    this.#feedForward = new FeedForward(
      model,
      plan,
      this.#memory,
      this.counts,
      sparsity,
      measureRecall,
      limits.tokens,
      layers,
    );
  }

  /** See {@linkcode Place.begin}. */
  begin(batch: Batch): void {
    this.#attention.begin(batch);
  }

  /** See {@linkcode Place.embed}. */
  embed(batch: Batch): void {
    const { vocab } = this.#options.plan;
    const { token_embd } = this.#weights;
    const { pointer, stride } = this.#partial;
    const n = batch.length;
    this.#memory.clear(this.#residual.pointer, n * stride);
    this.#memory.clear(pointer, n * stride);
    for (let t = 0; t < n; t++) {
      const id = batch.tokens[t];
      if (id < vocab.start || id >= vocab.end) continue;
      this.#memory.kernels.unpack_row(
        token_embd.kind,
        token_embd.row(id - vocab.start),
        token_embd.columns,
        pointer + 4 * t * stride,
      );
      this.#countHead(token_embd.rowBytes);
    }
  }

  /** See {@linkcode Place.attention}. */
  attention(layer: number, batch: Batch): void {
    const weights = this.#weights.layers[layer];
    this.#norm(weights.attn_norm, batch.length);
    this.#attention.run(layer, weights, batch, this.#normed, this.#partial);
  }

  /** See {@linkcode Place.hidden}. */
  hidden(layer: number, batch: Batch): void {
    const weights = this.#weights.layers[layer];
    this.#norm(weights.ffn_norm, batch.length);
    this.#feedForward.hidden(
      layer,
      weights,
      batch,
      this.#normed,
      this.#residual,
    );
  }

  /** See {@linkcode Place.neurons}. */
  neurons(batch: Batch): Neurons {
    return this.#feedForward.neurons(batch.length);
  }

  /** See {@linkcode Place.keepAbove}. */
  keepAbove(batch: Batch, thresholds: Float32Array): void {
    this.#feedForward.keepAbove(batch.length, thresholds);
  }

  /** See {@linkcode Place.down}. */
  down(layer: number, batch: Batch): void {
    const weights = this.#weights.layers[layer];
    this.#feedForward.down(layer, weights, batch, this.#partial);
  }

  /** See {@linkcode Place.head}. */
  head(batch: Batch): void {
    const { output, output_norm } = this.#weights;
    let row = 0;
    for (let t = 0; t < batch.length; t++) {
      if (!batch.wantLogits[t]) continue;
      this.#normRows(output_norm, t, row++, 1);
    }
    if (row === 0) return;
    this.#normed.changed();
    this.#countHead(output.multiply(this.#normed, row, this.#logits));
  }

  /** See {@linkcode Place.partial}. */
  partial(batch: Batch): Float32Array {
    const { pointer, stride } = this.#partial;
    return this.#memory.f32(pointer, batch.length * stride);
  }

  /** See {@linkcode Place.accumulate}. */
  accumulate(partial: Float32Array, batch: Batch): void {
    const { pointer, stride } = this.#residual;
    const length = batch.length * stride;
    const { kernels } = this.#memory;
    if (partial.buffer === kernels.memory.buffer) {
      kernels.add(pointer, partial.byteOffset, length);
    } else {
      // The normed rows are computed anew after every exchange: room for a copy.
      this.#memory.f32(this.#normed.pointer, length).set(partial);
      kernels.add(pointer, this.#normed.pointer, length);
    }
  }

  /** See {@linkcode Place.logits}. */
  logits(batch: Batch): Float32Array[] {
    const { pointer, stride } = this.#logits;
    return Array.from(
      { length: batch.logitCount },
      (_, i) =>
        this.#memory.f32(pointer + 4 * i * stride, this.#weights.output.rows),
    );
  }

  #norm(weight: PackedMatrix, rows: number): void {
    this.#normRows(weight, 0, 0, rows);
    this.#normed.changed();
  }

  #normRows(
    weight: PackedMatrix,
    from: number,
    to: number,
    rows: number,
  ): void {
    const { hiddenSize, rmsEpsilon } = this.#options.model;
    const { pointer, stride } = this.#residual;
    this.#memory.kernels.rms_norm(
      pointer + 4 * from * stride,
      stride,
      weight.pointer,
      rows,
      hiddenSize,
      rmsEpsilon,
      this.#normed.pointer + 4 * to * stride,
      stride,
    );
  }

  #countHead(bytes: number): void {
    this.counts.add(this.counts.layers, "bytes", bytes);
  }
}
