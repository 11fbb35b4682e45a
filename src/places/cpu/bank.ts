/**
 * One WASM memory of a CPU place, with the weights of some layers in it, and
 * what computes on them. A place has several where its share passes what one
 * memory holds.
 *
 * @module
 */
import type { Kernels } from "../../../wasm/kernels.d.ts";
import type { Model } from "../../model/model.ts";
import { ropeFrequencies } from "../../model/rope.ts";
import { stackDepth } from "../../plan/groups.ts";
import type { Rates } from "../../plan/rates.ts";
import type { PlacePlan } from "../../plan/plan.ts";
import type { Stage } from "../../plan/schedule.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import { type Batch, type BatchLimits, copyRows } from "../batch.ts";
import type { CacheType } from "../cache_type.ts";
import type { NeuronCounts } from "../neuron_counts.ts";
import type { FfnInputs } from "../ffn_inputs.ts";
import type { PlaceShards, Rows, Shard } from "../../model/shard.ts";
import type { LayerCounts } from "../stats.ts";
import { Attention } from "./attention.ts";
import { FeedForward } from "./feed_forward.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import { WasmMemory } from "../../kernels/memory.ts";
import { RowSums } from "../../kernels/row_sums.ts";
import {
  chooseKernels,
  measureRates,
  type RateSubject,
  useKernels,
  warmUp,
} from "./rates.ts";
import { type BankShare, type LayerWeights, PackedWeights } from "./weights.ts";

/** What a CPU place is made of, all of it fit to be posted to a worker. */
export interface CpuPlaceOptions {
  readonly model: Model;
  readonly plan: PlacePlan;
  readonly sparsity: Sparsity;
  readonly limits: BatchLimits;
  readonly cacheType: CacheType;
  /** Count what the predictor misses, at the price of computing everything. */
  readonly measureRecall: boolean;
  /** The share of each layer's neurons that is hot; measured where left out. */
  readonly hotShare?: number;
  /** Bytes of weights in one memory, at most; more go to further banks. */
  readonly bankBytes?: number;
}

/** What a place counts and keeps while it computes. */
export interface Counters {
  readonly layers: LayerCounts;
  /** Every neuron, where the caller wants a profile */
  readonly neurons?: NeuronCounts;
  /** What the feed-forward layers read, the same in every place: one keeps it */
  readonly normed?: FfnInputs;
}

/** Layers of one place in one memory. */
export class Bank {
  /** Bytes of packed weights. */
  readonly weightBytes: number;
  readonly #options: CpuPlaceOptions;
  readonly #memory: WasmMemory;
  readonly #weights: PackedWeights;
  readonly #residual: Activations;
  /** Of the stage, to be added to the residual once */
  #bias?: PackedMatrix;
  /** What was computed last, a term a level */
  readonly #sums: RowSums;
  #terms = 1;
  readonly #normed: Activations;
  readonly #logits: F32Rows;
  readonly #rateSubject: RateSubject;
  #attention!: Attention;
  #feedForward!: FeedForward;

  /** Makes room for the weights; they come by {@linkcode write}, then {@linkcode ready}. */
  constructor(
    kernels: Kernels,
    options: CpuPlaceOptions,
    shards: PlaceShards,
    readonly share: BankShare,
    readonly counters: Counters,
  ) {
    const { model, plan, limits, sparsity } = options;
    this.#options = options;
    const memory = this.#memory = new WasmMemory(kernels);
    const picks = sparsity.mode === "predictor";
    this.#weights = new PackedWeights(
      memory,
      shards,
      plan.parts,
      share,
      picks,
    );
    this.weightBytes = this.#weights.byteLength;
    const { tokens } = limits;
    this.#residual = new Activations(memory, tokens, model.hiddenSize);
    this.#normed = new Activations(memory, tokens, model.hiddenSize);
    this.#sums = new RowSums(
      memory,
      stackDepth(model),
      tokens,
      model.hiddenSize,
    );
    const { layers, head } = this.#weights;
    this.#logits = allocateRows(memory, tokens, head?.output.rows ?? 0);
    this.#rateSubject = {
      memory,
      layers: layers.filter((layer) => layer !== undefined)
        .filter((layer) => layer.ffn_up.rows > 1),
      output: head?.output,
      tokens,
    };
    if (this.#rateSubject.layers.length > 0) warmUp(this.#rateSubject);
  }

  /** Takes some rows of a shard, as they stand in the file, where it is this bank's. */
  write(shard: Shard, rows: Rows): void {
    this.#weights.write(shard, rows);
  }

  /**
   * Call when every shard is written: makes scratch and KV cache, and chooses
   * and measures the kernels, unless another bank of the place did so.
   */
  ready(known?: Rates): void {
    const { model, plan, limits, cacheType } = this.#options;
    const { layers, rope_freqs } = this.#weights;
    const factors = rope_freqs &&
      this.#memory.f32(rope_freqs.pointer, rope_freqs.columns).slice();
    const { layers: counts, neurons } = this.counters;
    this.#attention = new Attention(
      model,
      plan,
      this.#memory,
      counts,
      ropeFrequencies(model, factors),
      { maxTokens: limits.tokens, contextSize: limits.contextSize, cacheType },
      layers,
    );
    if (known) useKernels(this.#memory, known);
    const rates = known ?? chooseKernels(this.#rateSubject);
    this.#feedForward = new FeedForward(
      model,
      plan,
      this.#memory,
      counts,
      {
        ...this.#options,
        maxTokens: limits.tokens,
        rates,
      },
      layers,
      neurons,
    );
  }

  /** How fast the place reads its rows: measured when it was made ready. */
  get rates(): Rates {
    return this.#feedForward.options.rates;
  }

  /** See {@linkcode CpuPlace.setHotRows}. */
  setHotRows(hotRows: readonly number[]): void {
    this.#feedForward.hotRows = hotRows;
  }

  /** How fast it reads them now. */
  measureRates(): Rates {
    return measureRates(this.#rateSubject, this.rates);
  }

  /** Whether a layer is one of this bank's. */
  holds(layer: number): boolean {
    return layer >= this.share.layers.start && layer < this.share.layers.end;
  }

  /** Takes the residual over from the bank that computed last. */
  takeOver(other: Bank, batch: Batch): void {
    const length = batch.length * this.#residual.stride;
    const from = other.#memory.f32(other.#residual.pointer, length);
    this.#memory.f32(this.#residual.pointer, length).set(from);
  }

  /** See {@linkcode Place.reserve}. */
  reserve(pages: number): number {
    return this.#attention.reserve(pages);
  }

  /** See {@linkcode Place.begin}. */
  begin(batch: Batch): void {
    this.#attention.begin(batch);
  }

  /** See {@linkcode Place.embed}. */
  embed(batch: Batch): void {
    const { vocab } = this.#options.plan;
    const { token_embd } = this.#weights.head!;
    const { pointer, stride } = this.#sums.levels[0];
    const n = batch.length;
    this.#bias = undefined;
    this.#terms = 1;
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
    const weights = this.#layer(layer);
    this.#norm(weights.attn_norm, batch.length);
    this.#attention.run(layer, weights, batch, this.#normed);
  }

  /** See {@linkcode Place.attentionOutput}. */
  attentionOutput(layer: number, batch: Batch): void {
    const [out] = this.#sums.levels;
    const weights = this.#layer(layer);
    this.#attention.output(layer, weights, batch, out);
    this.#bias = weights.attn_output_bias;
    this.#terms = 1;
  }

  /** See {@linkcode CpuSidePlace.putInputs}. */
  putInputs({ kind, layer }: Stage, batch: Batch, rows: Float32Array): void {
    if (kind === "ffn") return this.#feedForward.putInputs(rows);
    this.#attention.put(layer, this.#layer(layer), batch, rows);
  }

  /** See {@linkcode CpuSidePlace.takeInputs}. */
  takeInputs({ kind, layer }: Stage, batch: Batch, rows: Float32Array): void {
    if (kind === "ffn") return this.#feedForward.takeInputs(rows);
    this.#attention.take(layer, this.#layer(layer), batch, rows);
  }

  /** See {@linkcode Place.hidden}. */
  hidden(layer: number, batch: Batch): void {
    const weights = this.#layer(layer);
    this.#bias = weights.ffn_down_bias;
    this.#norm(weights.ffn_norm, batch.length);
    if (this.counters.normed) this.#keep(this.counters.normed, layer, batch);
    this.#feedForward.hidden(
      layer,
      weights,
      batch,
      this.#normed,
      this.#residual,
      this.#sums,
    );
  }

  /** See {@linkcode CpuSidePlace.neurons}. */
  neurons(batch: Batch): Float32Array[] {
    return this.#feedForward.neurons(batch.length);
  }

  /** See {@linkcode Place.keepAbove}. */
  keepAbove(batch: Batch, thresholds: Float32Array): void {
    this.#feedForward.keepAbove(batch.length, thresholds);
  }

  /** See {@linkcode Place.down}. */
  down(): void {
    this.#terms = this.#feedForward.down();
  }

  /** See {@linkcode Place.head}. */
  head(batch: Batch): void {
    const { output, output_norm } = this.#weights.head!;
    let row = 0;
    for (let t = 0; t < batch.length; t++) {
      if (!batch.wantLogits[t]) continue;
      this.#normRows(output_norm, t, row++, 1);
    }
    if (row === 0) return;
    this.#normed.changed();
    this.#countHead(output.multiply(this.#normed, row, this.#logits));
  }

  /** See {@linkcode CpuSidePlace.terms}. */
  terms(batch: Batch): Float32Array[] {
    return this.#sums.levels.slice(0, this.#terms).map(({ pointer, stride }) =>
      this.#memory.f32(pointer, batch.length * stride)
    );
  }

  /** See {@linkcode CpuSidePlace.residual}. */
  residual(batch: Batch): Float32Array {
    const { pointer, stride } = this.#residual;
    return this.#memory.f32(pointer, batch.length * stride);
  }

  /** See {@linkcode CpuSidePlace.setResidual}. */
  setResidual(residual: Float32Array, batch: Batch): void {
    const { hiddenSize } = this.#options.model;
    copyRows(residual, this.residual(batch), batch.length, hiddenSize);
  }

  /** See {@linkcode CpuSidePlace.accumulate}. */
  accumulate(
    terms: readonly Float32Array[],
    merges: readonly number[],
    batch: Batch,
  ): void {
    const { kernels } = this.#memory;
    const { pointer, stride } = this.#residual;
    const length = batch.length * stride;
    this.#bias?.addTo(this.#residual, batch.length);
    this.#bias = undefined;
    const isOwn = terms.length === 1 &&
      terms[0].buffer === kernels.memory.buffer;
    const sum = isOwn
      ? terms[0].byteOffset
      : this.#sums.add(terms, merges, length);
    kernels.add(pointer, sum, length);
  }

  /** See {@linkcode CpuSidePlace.logits}. */
  logits(batch: Batch): Float32Array[] {
    const { pointer, stride } = this.#logits;
    return Array.from(
      { length: batch.logitCount },
      (_, i) =>
        this.#memory.f32(
          pointer + 4 * i * stride,
          this.#weights.head!.output.rows,
        ),
    );
  }

  #keep(normed: FfnInputs, layer: number, batch: Batch): void {
    const { hiddenSize } = this.#options.model;
    const { pointer, stride } = this.#normed;
    for (let t = 0; t < batch.length; t++) {
      const row = this.#memory.f32(pointer + 4 * t * stride, hiddenSize);
      normed.row(layer, t).set(row);
    }
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

  #layer(index: number): LayerWeights {
    return this.#weights.layers[index]!;
  }

  #countHead(bytes: number): void {
    const { layers } = this.counters;
    layers.add(layers.layers, "streamed", bytes);
  }
}
