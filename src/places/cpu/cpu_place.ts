/** A place that computes with the WASM kernels, in the thread that calls it. */
import type { Kernels } from "../../../wasm/kernels.d.ts";
import { LocalFiles } from "../../bytes/local_files.ts";
import { instantiate, WasmMemory } from "../../kernels/memory.ts";
import {
  Activations,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import { packedSliceBytes } from "../../kernels/packing.ts";
import { RowSums } from "../../kernels/row_sums.ts";
import { lengthOf, type Range } from "../../model/index_set.ts";
import { ropeFactors } from "../../model/rope.ts";
import type { PlaceShards, Rows, Shard } from "../../model/shard.ts";
import { readsFile, withAllResident } from "../../plan/plan.ts";
import { stackDepth } from "../../plan/groups.ts";
import type { Rates } from "../../plan/machine.ts";
import type { Squares, Stage } from "../../plan/schedule.ts";
import { shardsOf } from "../../plan/shards.ts";
import { type Batch, copyRows } from "../batch.ts";
import type { CpuSidePlace } from "../place.ts";
import { LayerCounts } from "../stats.ts";
import type { Picked } from "../top_logits_row.ts";
import { Attention } from "./attention.ts";
import { ExpertCache } from "./expert_cache.ts";
import { FeedForward } from "./feed_forward.ts";
import { Head } from "./head.ts";
import { isScreened, screenBytes } from "./head_screen.ts";
import { NeuronCache } from "./neuron_cache.ts";
import { normBySquares, type NormedRows, putSquares } from "./norms.ts";
import {
  type Bank,
  type Counters,
  type CpuPlaceOptions,
  isDense,
  type ReadAhead,
} from "./options.ts";
import { measureSums } from "./plan_rates.ts";
import {
  chooseKernels,
  measureRates,
  type RateSubject,
  useKernels,
  warmUp,
} from "./rates.ts";
import { ScreenChoice } from "./screen_choice.ts";
import { type BankShare, PackedWeights } from "./weights.ts";

/**
 * Bytes of weights in one memory of 4 GiB, so that scratch and KV cache find
 * room beside them.
 */
const defaultBankBytes = 3.25 * 2 ** 30;

/** What computes in a bank. */
interface PlaceBank extends Bank {
  /** Present where the bank has the output head */
  readonly head?: Head;
  readonly rateSubject: RateSubject;
  experts?: ExpertCache;
  neurons?: NeuronCache;
  attention: Attention;
  feedForward: FeedForward;
}

/** What a layer's half does with its sum. */
interface Finish {
  readonly bias?: Pick<PackedMatrix, "addTo">;
  readonly norm?: PackedMatrix;
  readonly scale?: number;
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
  /** Where experts are read from that are not in memory */
  #files?: LocalFiles;
  /** Holds embedding and output head */
  readonly #headBank: PlaceBank;
  /** The bank that computes: its residual is the current one. */
  #current: PlaceBank;
  /** What becomes of the stage's sum, before it is added to the residual */
  #finish: Finish = {};
  /** How many of the current bank's sums are the stage's terms */
  #terms = 1;

  /** Makes room for the weights; they come by {@linkcode write}, then {@linkcode ready}. */
  constructor(
    module: WebAssembly.Module,
    readonly options: CpuPlaceOptions,
    readonly counters: Counters = {
      layers: new LayerCounts(options.model.layers.length),
    },
    /** Reads what is not in memory before the place does */
    readonly ahead?: ReadAhead,
  ) {
    const { model, plan, screenHead = "auto" } = options;
    this.shards = shardsOf(model, plan);
    const ranges = splitLayers(
      this.shards,
      screenBytes(this.shards.output, model, screenHead),
      options.bankBytes ?? defaultBankBytes,
    );
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

  watchKernels(watch?: (kernels: Kernels) => Kernels): void {
    for (const { memory } of this.#banks) memory.watch(watch);
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
    const { options, counts, counters, ahead } = this;
    this.rates = options.rates ?? chooseKernels(this.#banks[0].rateSubject);
    const { plan, files, model } = options;
    this.#files = readsFile(plan) ? new LocalFiles(files!) : undefined;
    const shards = shardsOf(model, withAllResident(plan));
    for (const bank of this.#banks) {
      useKernels(bank.memory, this.rates);
      if (this.#files) {
        const of = [
          options,
          bank,
          counters,
          shards,
          this.#files,
          ahead,
        ] as const;
        if (model.routing) bank.experts = new ExpertCache(...of);
        else bank.neurons = new NeuronCache(...of);
      }
      bank.attention = new Attention(options, bank, counts);
      bank.feedForward = new FeedForward(options, bank, counters, this.rates);
    }
    if (options.forPlan) {
      this.rates = { ...this.rates, sum: measureSums(this) };
    }
  }

  /** Layers that it has neurons of. */
  get layers(): number[] {
    return this.options.plan.parts.flatMap(({ neurons }, layer) =>
      lengthOf(neurons) > 0 ? layer : []
    );
  }

  /** Closes its files. */
  [Symbol.dispose](): void {
    this.#files?.[Symbol.dispose]();
  }

  fire(layer: number, share: number): void {
    this.#current = this.#bankOf(layer);
    this.#current.feedForward.fire(layer, share);
  }

  reserve(pages: number): number {
    return Math.min(
      ...this.#banks.map(({ attention }) => attention.reserve(pages)),
    );
  }

  readPage(layer: number, page: number, rows: Uint8Array): void {
    this.#bankOf(layer).attention.readPage(layer, page, rows);
  }

  writePage(layer: number, page: number, rows: Uint8Array): void {
    this.#bankOf(layer).attention.writePage(layer, page, rows);
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
    const { hiddenSize, embeddingScale } = this.options.model;
    this.#finish = {};
    this.#terms = 1;
    memory.clear(residual.pointer, n * stride);
    memory.clear(pointer, n * stride);
    for (let t = 0; t < n; t++) {
      const id = batch.tokens[t];
      if (id < vocab.start || id >= vocab.end) continue;
      const row = pointer + 4 * t * stride;
      memory.kernels.unpack_row(
        token_embd.kind,
        token_embd.row(id - vocab.start),
        token_embd.columns,
        row,
      );
      if (embeddingScale !== 1) {
        memory.kernels.scale(row, hiddenSize, embeddingScale);
      }
      this.#countHead(token_embd.rowBytes);
    }
  }

  project(layer: number, batch: Batch): void {
    this.#enterLayer(layer, batch);
    const { attention, weights } = this.#current;
    const { attn_norm, attn_norm_bias } = weights.layers[layer]!;
    this.#norm(batch.length, attn_norm, attn_norm_bias);
    attention.project(layer, batch);
  }

  putSquares(
    of: Squares,
    layer: number,
    batch: Batch,
    squares: Float32Array,
  ): void {
    const { memory } = this.#current;
    for (const rows of this.#normedAsOne(of, layer)) {
      putSquares(memory, rows, batch.length, squares);
    }
  }

  takeSquares(
    of: Squares,
    layer: number,
    batch: Batch,
    squares: Float32Array,
  ): void {
    const { memory } = this.#current;
    const { normEpsilon } = this.options.model;
    for (const rows of this.#normedAsOne(of, layer)) {
      normBySquares(memory, rows, batch.length, squares, normEpsilon);
    }
  }

  attention(layer: number, batch: Batch): void {
    this.#current.attention.run(layer, batch);
  }

  attentionOutput(layer: number, batch: Batch): void {
    const { attention, weights, sums } = this.#current;
    const { attn_output_bias: bias, post_attention_norm: norm } = weights
      .layers[layer]!;
    attention.output(layer, batch, sums.levels[0]);
    this.#finish = { bias, norm, scale: this.options.model.residualScale };
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

  route(layer: number, batch: Batch): void {
    this.#enterLayer(layer, batch);
    if (!this.#routesInput) this.#normForFfn(layer, batch);
    this.#current.feedForward.route(layer, batch.length);
  }

  putChoices(_batch: Batch, choices: Uint32Array): void {
    this.#current.feedForward.putChoices(choices);
  }

  /** Whether routers read the layer's input, before its attention */
  get #routesInput(): boolean {
    return this.options.model.routing?.readsLayerInput ?? false;
  }

  #normForFfn(layer: number, batch: Batch): void {
    const { ffn_norm, ffn_norm_bias } = this.#current.weights.layers[layer]!;
    this.#norm(batch.length, ffn_norm, ffn_norm_bias);
  }

  ffnActivations(layer: number, batch: Batch): void {
    this.#enterLayer(layer, batch);
    const { feedForward, weights } = this.#current;
    const { post_ffw_norm: norm } = weights.layers[layer]!;
    // What the router has read is normed already.
    if (!this.options.model.routing || this.#routesInput) {
      this.#normForFfn(layer, batch);
    }
    this.#keepFfnInputs(layer, batch);
    feedForward.activations(layer, batch);
    const { downBias: bias } = feedForward;
    this.#finish = { bias, norm, scale: this.options.model.residualScale };
  }

  neurons(batch: Batch): Float32Array[] {
    return this.#current.feedForward.neurons(batch.length);
  }

  keepAbove(_batch: Batch, thresholds: Float32Array): void {
    this.#current.feedForward.keepAbove(thresholds);
  }

  down(): void {
    this.#terms = this.#current.feedForward.down();
  }

  head(batch: Batch): void {
    this.#enter(this.#headBank, batch);
    const { weights, normed, head } = this.#current;
    const { output_norm, output_norm_bias } = weights.head!;
    let row = 0;
    const normWanted = (wanted: Int32Array) => {
      for (let t = 0; t < batch.length; t++) {
        if (!wanted[t]) continue;
        this.#normRows(t, row++, 1, output_norm, output_norm_bias);
      }
      normed.changed();
    };
    normWanted(batch.wantLogits);
    if (row > 0) {
      this.#countHead(head!.run(batch.pickedOfRows, batch.masksOfRows));
    }
    if (batch.stateCount > 0) normWanted(batch.wantStates);
  }

  pick(): Picked[] {
    return this.#headBank.head!.picked;
  }

  reach(_batch: Batch, least: readonly number[]): void {
    this.#countHead(this.#headBank.head!.reach(least));
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
    const { memory: { kernels, bytes }, residual, sums } = this.#current;
    const length = batch.length * residual.stride;
    const { bias, norm, scale = 1 } = this.#finish;
    const isOwn = terms.length === 1 && terms[0].buffer === bytes.buffer;
    const sum = isOwn ? terms[0].byteOffset : sums.add(terms, merges, length);
    const rows = { pointer: sum, stride: residual.stride };
    bias?.addTo(norm || scale !== 1 ? rows : residual, batch.length);
    if (norm) this.#normInto(rows, rows, batch.length, norm);
    if (scale !== 1) kernels.scale(sum, length, scale);
    kernels.add(residual.pointer, sum, length);
  }

  logits(batch: Batch): Float32Array[] {
    const { head } = this.#headBank;
    return Array.from({ length: batch.logitCount }, (_, i) => head!.row(i));
  }

  states(batch: Batch): Float32Array[] {
    const { memory, normed: { pointer, stride } } = this.#headBank;
    const first = batch.logitCount;
    return Array.from(
      { length: batch.stateCount },
      (_, i) =>
        memory.f32(
          pointer + 4 * (first + i) * stride,
          this.options.model.hiddenSize,
        ),
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

  #normedAsOne(of: Squares, layer: number): Iterable<NormedRows> {
    const { attention, feedForward } = this.#current;
    return of === "neuron-squares"
      ? feedForward.normedAsOne(layer)
      : attention.normedAsOne(of, layer);
  }

  #norm(rows: number, weight?: PackedMatrix, bias?: PackedMatrix): void {
    this.#normRows(0, 0, rows, weight, bias);
    this.#current.normed.changed();
  }

  /** Norms `rows` of the residual, from row `from` on, into the normed rows from `to` on; copies them where there is no norm. */
  #normRows(
    from: number,
    to: number,
    rows: number,
    weight?: PackedMatrix,
    bias?: PackedMatrix,
  ): void {
    const { memory, residual, normed } = this.#current;
    const { stride } = residual;
    const x = { pointer: residual.pointer + 4 * from * stride, stride };
    const out = { pointer: normed.pointer + 4 * to * stride, stride };
    if (weight) return this.#normInto(x, out, rows, weight, bias);
    memory.f32(out.pointer, rows * stride)
      .set(memory.f32(x.pointer, rows * stride));
  }

  #normInto(
    x: F32Rows,
    out: F32Rows,
    rows: number,
    weight: PackedMatrix,
    bias?: PackedMatrix,
  ): void {
    const { memory: { kernels } } = this.#current;
    const { norm, hiddenSize: k, normEpsilon: epsilon } = this.options.model;
    const { pointer, stride } = x, { pointer: to, stride: toStride } = out;
    const w = weight.pointer;
    if (norm === "rms") {
      kernels.rms_norm(pointer, stride, w, rows, k, epsilon, to, toStride);
    } else {
      const b = bias!.pointer;
      kernels.layer_norm(pointer, stride, w, b, rows, k, epsilon, to, toStride);
    }
  }

  #countHead(bytes: number): void {
    this.counts.add(this.counts.layers, "streamed", bytes);
  }

  #enterLayer(layer: number, batch: Batch): void {
    this.#enter(this.#bankOf(layer), batch);
  }

  #bankOf(layer: number): PlaceBank {
    const holds = ({ layers }: Bank) =>
      layer >= layers.start && layer < layers.end;
    return holds(this.#current) ? this.#current : this.#banks.find(holds)!;
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
  {
    model,
    plan,
    limits: { tokens, contextSize },
    sparsity,
    screenHead = "auto",
    forPlan = false,
  }: CpuPlaceOptions,
  shards: PlaceShards,
  share: BankShare,
): PlaceBank {
  const memory = new WasmMemory(instantiate(module));
  const picks = sparsity.mode === "predictor";
  const weights = new PackedWeights(
    memory,
    model,
    shards,
    plan.parts,
    share,
    picks,
    ropeFactors(shards, model, contextSize),
  );
  const output = weights.head?.output;
  const layers = weights.experts
    // Of matrices that are there in part, those parts.
    .map((experts, i) =>
      plan.parts[i].resident ? weights.layers[i] : experts?.[0]
    )
    .filter((layer) => layer !== undefined)
    .filter((layer) => layer.ffn_up.rows > 1);
  const rateSubject = {
    memory,
    layers,
    // A plan knows of the head by whole steps.
    output: forPlan ? undefined : output,
    tokens,
    isDense: isDense({ model, sparsity }),
  };
  const { hiddenSize } = model;
  const normed = new Activations(memory, tokens, hiddenSize);
  const choice = output && isScreened(output, model, screenHead)
    ? new ScreenChoice(screenHead)
    : undefined;
  const bank = {
    layers: share.layers,
    memory,
    weights,
    residual: new Activations(memory, tokens, hiddenSize),
    normed,
    sums: new RowSums(memory, stackDepth(model), tokens, hiddenSize),
    head: output &&
      new Head(memory, model, output, normed, tokens, choice),
    rateSubject,
  };
  // Attention and FFN come when the weights are there.
  return bank as typeof bank & Pick<PlaceBank, "attention" | "feedForward">;
}

/** Ranges of layers whose weights fit `bankBytes` each, the head and its copies with the last of them. */
function splitLayers(
  shards: PlaceShards,
  copiedBytes: number,
  bankBytes: number,
): Range[] {
  const { output, token_embd } = shards;
  const head = copiedBytes + packedSliceBytes(output) +
    (output === token_embd ? 0 : packedSliceBytes(token_embd));
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
