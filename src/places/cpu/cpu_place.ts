/**
 * A place that computes with the WASM kernels, in the thread that calls it.
 *
 * @module
 */
import type { Rates } from "../../plan/rates.ts";
import type { Range } from "../../model/index_set.ts";
import type { Stage } from "../../plan/schedule.ts";
import type { Batch } from "../batch.ts";
import type { CpuSidePlace } from "../place.ts";
import type { PlaceShards, Rows, Shard } from "../../model/shard.ts";
import { shardsOf } from "../../plan/shards.ts";
import { LayerCounts } from "../stats.ts";
import { Bank, type Counters, type CpuPlaceOptions } from "./bank.ts";
import { instantiate } from "../../kernels/memory.ts";
import { packedSliceBytes } from "../../kernels/packing.ts";

/**
 * Bytes of weights in one memory of 4 GiB, so that scratch and KV cache find
 * room beside them.
 */
const defaultBankBytes = 3.25 * 2 ** 30;

/** Holds its parts packed in WASM memories: one, or several "banks" of whole layers. */
export class CpuPlace implements CpuSidePlace {
  /** Bytes of packed weights. */
  readonly weightBytes: number;
  /** What it asks the loader for; `write` takes the rows. */
  readonly shards: PlaceShards;
  readonly #banks: Bank[];
  readonly #counters: Counters;
  /** The bank that computes: its residual is the current one. */
  #current: Bank;

  /** Makes room for the weights; they come by {@linkcode write}, then {@linkcode ready}. */
  constructor(
    module: WebAssembly.Module,
    options: CpuPlaceOptions,
    counters: Counters = {
      layers: new LayerCounts(options.model.layers.length),
    },
  ) {
    const { model, plan, bankBytes = defaultBankBytes } = options;
    this.shards = shardsOf(model, plan);
    this.#counters = counters;
    const ranges = splitLayers(this.shards, bankBytes);
    this.#banks = ranges.map((layers, i) =>
      new Bank(instantiate(module), options, this.shards, {
        layers,
        head: i === ranges.length - 1,
      }, counters)
    );
    this.#current = this.#headBank;
    this.weightBytes = this.#banks.reduce((sum, b) => sum + b.weightBytes, 0);
  }

  /** What was computed and read so far. */
  get counts(): LayerCounts {
    return this.#counters.layers;
  }

  /** How fast the place read its rows when it was made ready. */
  get rates(): Rates {
    return this.#banks[0].rates;
  }

  /** See {@linkcode CpuSidePlace.measureRates}. */
  measureRates(): Rates {
    return this.#banks[0].measureRates();
  }

  /** Takes some rows of one of its shards, as they stand in the file. */
  write(shard: Shard, rows: Rows): void {
    for (const bank of this.#banks) bank.write(shard, rows);
  }

  /** Call when every shard is written: makes the scratch and the KV cache. */
  ready(): void {
    const [first, ...others] = this.#banks;
    first.ready();
    for (const bank of others) bank.ready(first.rates);
  }

  /** See {@linkcode Place.reserve}. */
  reserve(pages: number): number {
    return Math.min(...this.#banks.map((bank) => bank.reserve(pages)));
  }

  /** How many rows of each layer it reads without asking from now on, as a plan says for its rates. */
  setHotRows(hotRows: readonly number[]): void {
    for (const bank of this.#banks) bank.setHotRows(hotRows);
  }

  /** See {@linkcode Place.begin}. */
  begin(batch: Batch): void {
    for (const bank of this.#banks) bank.begin(batch);
  }

  /** See {@linkcode Place.embed}. */
  embed(batch: Batch): void {
    this.#current = this.#headBank;
    this.#current.embed(batch);
  }

  /** See {@linkcode Place.attention}. */
  attention(layer: number, batch: Batch): void {
    this.#enterLayer(layer, batch);
    this.#current.attention(layer, batch);
  }

  /** See {@linkcode Place.attentionOutput}. */
  attentionOutput(layer: number, batch: Batch): void {
    this.#current.attentionOutput(layer, batch);
  }

  /** See {@linkcode Place.hidden}. */
  hidden(layer: number, batch: Batch): void {
    this.#enterLayer(layer, batch);
    this.#current.hidden(layer, batch);
  }

  /** See {@linkcode CpuSidePlace.neurons}. */
  neurons(batch: Batch): Float32Array[] {
    return this.#current.neurons(batch);
  }

  /** See {@linkcode Place.keepAbove}. */
  keepAbove(batch: Batch, thresholds: Float32Array): void {
    this.#current.keepAbove(batch, thresholds);
  }

  /** See {@linkcode Place.down}. */
  down(): void {
    this.#current.down();
  }

  /** See {@linkcode Place.head}. */
  head(batch: Batch): void {
    this.#enter(this.#headBank, batch);
    this.#current.head(batch);
  }

  /** See {@linkcode CpuSidePlace.putInputs}. */
  putInputs(stage: Stage, batch: Batch, rows: Float32Array): void {
    this.#current.putInputs(stage, batch, rows);
  }

  /** See {@linkcode CpuSidePlace.takeInputs}. */
  takeInputs(stage: Stage, batch: Batch, rows: Float32Array): void {
    this.#current.takeInputs(stage, batch, rows);
  }

  /** See {@linkcode CpuSidePlace.terms}. */
  terms(batch: Batch): Float32Array[] {
    return this.#current.terms(batch);
  }

  /** See {@linkcode CpuSidePlace.residual}. */
  residual(batch: Batch): Float32Array {
    return this.#current.residual(batch);
  }

  /** See {@linkcode CpuSidePlace.setResidual}. */
  setResidual(residual: Float32Array, batch: Batch): void {
    this.#current.setResidual(residual, batch);
  }

  /** See {@linkcode CpuSidePlace.accumulate}. */
  accumulate(
    terms: readonly Float32Array[],
    merges: readonly number[],
    batch: Batch,
  ): void {
    this.#current.accumulate(terms, merges, batch);
  }

  /** See {@linkcode CpuSidePlace.logits}. */
  logits(batch: Batch): Float32Array[] {
    return this.#current.logits(batch);
  }

  get #headBank(): Bank {
    return this.#banks[this.#banks.length - 1];
  }

  #enterLayer(layer: number, batch: Batch): void {
    if (this.#current.holds(layer)) return;
    this.#enter(this.#banks.find((bank) => bank.holds(layer))!, batch);
  }

  #enter(bank: Bank, batch: Batch): void {
    if (bank === this.#current) return;
    bank.takeOver(this.#current, batch);
    this.#current = bank;
  }
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
