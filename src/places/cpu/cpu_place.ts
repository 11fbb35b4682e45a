/** A place that computes with the WASM kernels, in the thread that calls it. */
import { instantiate, WasmMemory } from "../../kernels/memory.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import { packedSliceBytes } from "../../kernels/packing.ts";
import { RowSums } from "../../kernels/row_sums.ts";
import type { Range } from "../../model/index_set.ts";
import type { PlaceShards, Rows, Shard } from "../../model/shard.ts";
import { stackDepth } from "../../plan/groups.ts";
import type { Rates } from "../../plan/machine.ts";
import type { Stage } from "../../plan/schedule.ts";
import { shardsOf } from "../../plan/shards.ts";
import { type Batch, copyRows } from "../batch.ts";
import type { CpuSidePlace } from "../place.ts";
import { LayerCounts } from "../stats.ts";
import { Attention } from "./attention.ts";
import { FeedForward } from "./feed_forward.ts";
import type { Bank, Counters, CpuPlaceOptions } from "./options.ts";
import {
  chooseKernels,
  measureRates,
  type RateSubject,
  useKernels,
  warmUp,
} from "./rates.ts";
import { type BankShare, PackedWeights } from "./weights.ts";

/**
 * Bytes of weights in one memory of 4 GiB, so that scratch and KV cache find
 * room beside them.
 */
const defaultBankBytes = 3.25 * 2 ** 30;

/** What computes in a bank. */
interface PlaceBank extends Bank {
  readonly logits: F32Rows;
  readonly rateSubject: RateSubject;
  attention: Attention;
  feedForward: FeedForward;
}

/** Holds its parts packed in WASM memories: one, or several "banks" of whole layers. */
export class CpuPlace implements CpuSidePlace {
  /** Bytes of packed weights. */
  readonly weightBytes: number;
  /** What the loader has to {@linkcode write}. */
  readonly shards: PlaceShards;
  /** How fast the place reads its rows: as the options say, or as it did when it was made ready. */
  rates!: Rates;
  readonly #banks: PlaceBank[];
  /** Holds embedding and output head */
  readonly #headBank: PlaceBank;
  /** The bank that computes: its residual is the current one. */
  #current: PlaceBank;
  /** Of the stage, to be added to the residual once */
  #bias?: PackedMatrix;
  /** How many of the current bank's sums are the stage's terms */
  #terms = 1;

  /** Makes room for the weights; they come by {@linkcode write}, then {@linkcode ready}. */
  constructor(
    module: WebAssembly.Module,
    readonly options: CpuPlaceOptions,
    readonly counters: Counters = {
      layers: new LayerCounts(options.model.layers.length),
    },
  ) {
    const { model, plan, bankBytes = defaultBankBytes } = options;
    this.shards = shardsOf(model, plan);
    const ranges = splitLayers(this.shards, bankBytes);
    this.#banks = ranges.map((layers, i) =>
      makeBank(module, options, this.shards, {
        layers,
        head: i === ranges.length - 1,
      })
    );
    this.#current = this.#headBank = this.#banks[ranges.length - 1];
    this.weightBytes = this.#banks.reduce(
      (sum, { weights }) => sum + weights.byteLength,
      0,
    );
    if (!options.rates) warmUp(this.#banks[0].rateSubject);
  }

  /** What was computed and read so far. */
  get counts(): LayerCounts {
    return this.counters.layers;
  }

  measureRates(): Rates {
    return measureRates(this.#banks[0].rateSubject, this.rates);
  }

  /** Takes some rows of one of its shards, as they stand in the file. */
  write(shard: Shard, rows: Rows): void {
    for (const { weights } of this.#banks) weights.write(shard, rows);
  }

  /**
   * Call when every shard is written: makes scratch and KV cache, and chooses
   * and measures the kernels on the first bank, where the options do not.
   */
  ready(): void {
    const { options, counts, counters } = this;
    this.rates = options.rates ?? chooseKernels(this.#banks[0].rateSubject);
    for (const bank of this.#banks) {
      useKernels(bank.memory, this.rates);
      bank.attention = new Attention(options, bank, counts);
      bank.feedForward = new FeedForward(options, bank, counters, this.rates);
    }
  }

  reserve(pages: number): number {
    return Math.min(
      ...this.#banks.map(({ attention }) => attention.reserve(pages)),
    );
  }

  /** How many rows of each layer it reads without a test from now on, as a plan says for its rates. */
  setHotRows(hotRows: readonly number[]): void {
    for (const { feedForward } of this.#banks) feedForward.hotRows = hotRows;
  }

  begin(batch: Batch): void {
    for (const { attention } of this.#banks) attention.begin(batch);
  }

  embed(batch: Batch): void {
    const { vocab } = this.options.plan;
    const { memory, weights, residual, sums } = this.#current = this.#headBank;
    const { token_embd } = weights.head!;
    const { pointer, stride } = sums.levels[0];
    const n = batch.length;
    this.#bias = undefined;
    this.#terms = 1;
    memory.clear(residual.pointer, n * stride);
    memory.clear(pointer, n * stride);
    for (let t = 0; t < n; t++) {
      const id = batch.tokens[t];
      if (id < vocab.start || id >= vocab.end) continue;
      memory.kernels.unpack_row(
        token_embd.kind,
        token_embd.row(id - vocab.start),
        token_embd.columns,
        pointer + 4 * t * stride,
      );
      this.#countHead(token_embd.rowBytes);
    }
  }

  attention(layer: number, batch: Batch): void {
    this.#enterLayer(layer, batch);
    const { attention, weights } = this.#current;
    this.#norm(weights.layers[layer]!.attn_norm, batch.length);
    attention.run(layer, batch);
  }

  attentionOutput(layer: number, batch: Batch): void {
    const { attention, weights, sums } = this.#current;
    attention.output(layer, batch, sums.levels[0]);
    this.#bias = weights.layers[layer]!.attn_output_bias;
    this.#terms = 1;
  }

  putInputs({ kind, layer }: Stage, batch: Batch, rows: Float32Array): void {
    const { attention, feedForward } = this.#current;
    if (kind === "ffn") return feedForward.putInputs(rows);
    attention.put(layer, batch, rows);
  }

  takeInputs({ kind, layer }: Stage, batch: Batch, rows: Float32Array): void {
    const { attention, feedForward } = this.#current;
    if (kind === "ffn") return feedForward.takeInputs(rows);
    attention.take(layer, batch, rows);
  }

  ffnActivations(layer: number, batch: Batch): void {
    this.#enterLayer(layer, batch);
    const { feedForward, weights } = this.#current;
    const { ffn_norm, ffn_down_bias } = weights.layers[layer]!;
    this.#bias = ffn_down_bias;
    this.#norm(ffn_norm, batch.length);
    this.#keepFfnInputs(layer, batch);
    feedForward.activations(layer, batch);
  }

  neurons(batch: Batch): Float32Array[] {
    return this.#current.feedForward.neurons(batch.length);
  }

  keepAbove(batch: Batch, thresholds: Float32Array): void {
    this.#current.feedForward.keepAbove(batch.length, thresholds);
  }

  down(): void {
    this.#terms = this.#current.feedForward.down();
  }

  head(batch: Batch): void {
    this.#enter(this.#headBank, batch);
    const { weights, normed, logits } = this.#current;
    const { output, output_norm } = weights.head!;
    let row = 0;
    for (let t = 0; t < batch.length; t++) {
      if (batch.wantLogits[t]) this.#normRows(output_norm, t, row++, 1);
    }
    if (row === 0) return;
    normed.changed();
    this.#countHead(output.multiply(normed, row, logits));
  }

  terms(batch: Batch): Float32Array[] {
    const { memory, sums } = this.#current;
    return sums.levels.slice(0, this.#terms).map(({ pointer, stride }) =>
      memory.f32(pointer, batch.length * stride)
    );
  }

  residual(batch: Batch): Float32Array {
    return residualOf(this.#current, batch);
  }

  setResidual(residual: Float32Array, batch: Batch): void {
    const { hiddenSize } = this.options.model;
    copyRows(residual, this.residual(batch), batch.length, hiddenSize);
  }

  accumulate(
    terms: readonly Float32Array[],
    merges: readonly number[],
    batch: Batch,
  ): void {
    const { memory: { kernels }, residual, sums } = this.#current;
    const length = batch.length * residual.stride;
    this.#bias?.addTo(residual, batch.length);
    this.#bias = undefined;
    const isOwn = terms.length === 1 &&
      terms[0].buffer === kernels.memory.buffer;
    const sum = isOwn ? terms[0].byteOffset : sums.add(terms, merges, length);
    kernels.add(residual.pointer, sum, length);
  }

  logits(batch: Batch): Float32Array[] {
    const { memory, weights, logits: { pointer, stride } } = this.#current;
    const { rows } = weights.head!.output;
    return Array.from(
      { length: batch.logitCount },
      (_, i) => memory.f32(pointer + 4 * i * stride, rows),
    );
  }

  #keepFfnInputs(layer: number, batch: Batch): void {
    const { ffnInputs } = this.counters;
    if (!ffnInputs) return;
    const { memory, normed: { pointer, stride } } = this.#current;
    const { hiddenSize } = this.options.model;
    for (let t = 0; t < batch.length; t++) {
      const row = memory.f32(pointer + 4 * t * stride, hiddenSize);
      ffnInputs.row(layer, t).set(row);
    }
  }

  #norm(weight: PackedMatrix, rows: number): void {
    this.#normRows(weight, 0, 0, rows);
    this.#current.normed.changed();
  }

  /** Norms `rows` of the residual, from row `from` on, into the normed rows from `to` on. */
  #normRows(
    weight: PackedMatrix,
    from: number,
    to: number,
    rows: number,
  ): void {
    const { hiddenSize, rmsEpsilon } = this.options.model;
    const { memory, residual: { pointer, stride }, normed } = this.#current;
    memory.kernels.rms_norm(
      pointer + 4 * from * stride,
      stride,
      weight.pointer,
      rows,
      hiddenSize,
      rmsEpsilon,
      normed.pointer + 4 * to * stride,
      stride,
    );
  }

  #countHead(bytes: number): void {
    this.counts.add(this.counts.layers, "streamed", bytes);
  }

  #enterLayer(layer: number, batch: Batch): void {
    const holds = ({ layers }: Bank) =>
      layer >= layers.start && layer < layers.end;
    if (!holds(this.#current)) this.#enter(this.#banks.find(holds)!, batch);
  }

  /** Goes on in a bank, which takes over the residual. */
  #enter(bank: PlaceBank, batch: Batch): void {
    if (bank === this.#current) return;
    residualOf(bank, batch).set(residualOf(this.#current, batch));
    this.#current = bank;
  }
}

function residualOf({ memory, residual }: Bank, batch: Batch): Float32Array {
  return memory.f32(residual.pointer, batch.length * residual.stride);
}

function makeBank(
  module: WebAssembly.Module,
  { model, plan, limits: { tokens }, sparsity }: CpuPlaceOptions,
  shards: PlaceShards,
  share: BankShare,
): PlaceBank {
  const memory = new WasmMemory(instantiate(module));
  const picks = sparsity.mode === "predictor";
  const weights = new PackedWeights(memory, shards, plan.parts, share, picks);
  const output = weights.head?.output;
  const layers = weights.layers.filter((layer) => layer !== undefined)
    .filter((layer) => layer.ffn_up.rows > 1);
  const rateSubject = { memory, layers, output, tokens };
  const { hiddenSize } = model;
  const bank = {
    layers: share.layers,
    memory,
    weights,
    residual: new Activations(memory, tokens, hiddenSize),
    normed: new Activations(memory, tokens, hiddenSize),
    sums: new RowSums(memory, stackDepth(model), tokens, hiddenSize),
    logits: allocateRows(memory, tokens, output?.rows ?? 0),
    rateSubject,
  };
  // Attention and FFN come when the weights are there.
  return bank as typeof bank & Pick<PlaceBank, "attention" | "feedForward">;
}

/** Ranges of layers whose weights fit `bankBytes` each, the head with the last of them. */
function splitLayers(shards: PlaceShards, bankBytes: number): Range[] {
  const head = shards.output === shards.token_embd
    ? packedSliceBytes(shards.output)
    : packedSliceBytes(shards.output) + packedSliceBytes(shards.token_embd);
  const ranges: Range[] = [];
  let start = 0, bytes = 0;
  shards.layers.forEach((layer, i) => {
    const size = Object.values(layer).reduce(
      (sum, shard) => sum + (shard ? packedSliceBytes(shard) : 0),
      i === shards.layers.length - 1 ? head : 0,
    );
    if (i > start && bytes + size > bankBytes) {
      ranges.push({ start, end: i });
      start = i;
      bytes = 0;
    }
    bytes += size;
  });
  return [...ranges, { start, end: shards.layers.length }];
}
