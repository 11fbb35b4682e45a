/**
 * A place on a WebGPU device: holds parts of a model, whose results it adds to
 * a residual of its own.
 */
import type { Batch } from "../batch.ts";
import type { MeasuredGpu } from "../gpu_stats.ts";
import type { Squares } from "../../plan/schedule.ts";
import { after, type GpuSidePlace } from "../place.ts";
import type { PlaceShards, Rows, Shard } from "../../model/shard.ts";
import { LayerCounts } from "../stats.ts";
import type { Activity, TraceEvent } from "../trace.ts";
import { Attention } from "./run/attention.ts";
import { Buffers, Uniforms } from "./memory/buffers.ts";
import { Commands } from "./device/commands.ts";
import { stretchesFor } from "./kernels/neurons.ts";
import { CounterReader, FeedForward } from "./run/feed_forward.ts";
import { Device } from "./device/device.ts";
import { DeviceTrace } from "./device/device_trace.ts";
import { Head, Results } from "./run/head.ts";
import {
  type DeviceLayout,
  layoutOf,
  type LayoutOptions,
} from "./memory/layout.ts";
import { measure, type Measured } from "./run/measure.ts";
import type { PlaceContext } from "./run/context.ts";
import { type Result, TokensAhead } from "./run/tokens_ahead.ts";
import { ReadBack, type ReadBackKind, type Region } from "./run/read_back.ts";
import { Residual } from "./run/residual.ts";
import type { SharedNorm } from "./run/shared_norm.ts";
import { Step } from "./run/step.ts";
import { Weights } from "./memory/weights.ts";

export interface GpuPlaceOptions extends LayoutOptions {
  /** Bytes that all buffers together may take; as many as the device has, where left out */
  readonly budgetBytes?: number;
  /** How results are waited for; what fits here, where left out */
  readonly readBack?: ReadBackKind;
  /** An open device, which stays open when the place is disposed; its own, where left out */
  readonly device?: Device;
  /** Whether {@linkcode GpuPlace.measure} takes the time that the speed of the device needs */
  readonly forPlan?: boolean;
  readonly counts?: LayerCounts;
}

/** Holds its parts packed on the device. Open it, {@linkcode write} the weights, then {@linkcode ready}. */
export class GpuPlace implements GpuSidePlace {
  /** What the loader reads for it; `write` takes the rows. */
  readonly shards: PlaceShards;
  readonly counts: LayerCounts;
  readonly device: Device;
  readonly #commands: Commands;
  readonly #weights: Weights;
  readonly #counters: CounterReader;
  #measured: Measured = { readBackMs: 0 };
  #parts!: Parts;
  /** Whether the device writes timestamps, and the host can wait for it synchronously */
  #isTraceable = false;
  /** The layer whose h were computed last */
  #layer = 0;
  /** What the step gives that runs, where it was computed before */
  #given?: Result;

  private constructor(
    readonly buffers: Buffers,
    readonly options: GpuPlaceOptions,
    readonly layout: DeviceLayout,
  ) {
    const { model } = options;
    this.device = buffers.device;
    this.shards = layout.shards;
    this.counts = options.counts ?? new LayerCounts(model.layers.length);
    this.#commands = new Commands(this.device);
    this.#weights = new Weights(buffers, layout);
    this.#counters = new CounterReader(model.layers.length);
  }

  /**
   * Opens the device and makes room for the weights.
   *
   * @throws {GpuError} where there is no device, or no room on it
   */
  static async open(options: GpuPlaceOptions): Promise<GpuPlace> {
    const device = options.device ?? await Device.open();
    const buffers = new Buffers(device, options.budgetBytes);
    const layout = layoutOf({
      ...options,
      pieceBytes: options.pieceBytes ?? device.maxBindingBytes,
    });
    try {
      return await device.accepts(
        "hold the weights",
        () => new GpuPlace(buffers, options, layout),
      );
    } catch (error) {
      if (options.device) buffers.releaseAll();
      else device.destroy();
      throw error;
    }
  }

  get weightBytes(): number {
    return this.#weights.byteLength;
  }

  write(shard: Shard, rows: Rows): void {
    this.#weights.write(shard, rows);
  }

  /**
   * Call when every shard is written: compiles the kernels, and makes scratch
   * and KV cache.
   *
   * @throws {GpuError} where the device refuses something, or has no room
   */
  async ready(): Promise<void> {
    const { device } = this;
    this.#parts = await device.accepts("run", () => this.#makeParts());
    await this.#parts.readBack.prime();
    this.#isTraceable = device.gpu.features.has("timestamp-query") &&
      await device.readsAtOnce;
  }

  get stats(): MeasuredGpu {
    const { device } = this;
    const lanes = device.subgroups ? "subgroups" : "no subgroups";
    return {
      name: `${device.name}, ${lanes}, ${this.#parts.readBack.kind} read-back`,
      bytes: this.buffers.bytes,
      ...this.#measured,
      counts: this.#commands.counts,
    };
  }

  /**
   * Measures the time of a read-back and, where the options say so, how fast the
   * device is, for {@linkcode stats}; call when it is ready.
   *
   * @throws {GpuError} where the device has failed
   */
  async measure(): Promise<void> {
    this.#dropAhead();
    const { attention, feedForward, head, readBack, counters } = this.#parts;
    const products = this.options.forPlan
      ? [attention, feedForward, head].flatMap((part) => part?.streamed ?? [])
      : [];
    const region = { buffer: counters, bytes: counters.size };
    this.#measured = await measure(this.#commands, readBack, region, products);
    this.device.check();
  }

  reserve(pages: number): number {
    return this.#parts.attention?.reserve(pages) ?? pages;
  }

  readPage(
    layer: number,
    page: number,
    rows: Uint8Array,
  ): void | Promise<void> {
    const { attention } = this.#parts;
    const region = attention?.pageRegion(layer, page);
    return region && this.#read(region, (bytes) => {
      const read = new Uint8Array(bytes, 0, region.bytes);
      attention!.readPage(layer, read, rows);
    });
  }

  writePage(layer: number, page: number, rows: Uint8Array): void {
    this.device.check();
    this.#dropAhead();
    this.#parts.attention?.writePage(layer, page, rows);
  }

  begin(batch: Batch): void {
    this.device.check();
    const { attention, ahead } = this.#parts;
    if (this.#commands.trace) this.#dropAhead();
    this.#given = ahead?.take(batch, (figures) => this.#counters.skip(figures));
    this.#commands.isIdle = this.#given !== undefined;
    if (this.#given) return;
    this.#commands.beginStep();
    this.#upload(batch);
    attention?.begin(batch, attention.splits(batch));
  }

  #upload(batch: Batch): void {
    const { step, attention, head } = this.#parts;
    step.upload(this.#commands, batch, {
      wanted_count: head?.portion(batch) ?? 0,
      top_count: head?.picked(batch) ?? 0,
      stretch_count: stretchesFor(batch.length),
      split_count: attention?.splits(batch) ?? 1,
    });
  }

  /** Drops the results that are there before they were asked for. */
  #dropAhead(): void {
    this.#parts.ahead?.drop((figures) => this.#counters.skip(figures));
  }

  embed(batch: Batch): void {
    this.#parts.head?.embed(batch.length);
  }

  project(layer: number, batch: Batch): void {
    this.#parts.attention?.project(layer, batch.length);
  }

  attention(layer: number, batch: Batch): void {
    this.#parts.attention?.attend(layer, batch.length);
  }

  attentionOutput(layer: number, batch: Batch): void {
    this.#parts.attention?.output(layer, batch);
  }

  putSquares(
    of: Squares,
    layer: number,
    batch: Batch,
    rows: Float32Array,
  ): void | Promise<void> {
    return this.#sharedNorm(of, layer)
      .put(batch, rows, this.#read.bind(this));
  }

  takeSquares(
    of: Squares,
    layer: number,
    batch: Batch,
    rows: Float32Array,
  ): void {
    this.#sharedNorm(of, layer).take(batch, rows);
  }

  route(layer: number, batch: Batch): void {
    this.#parts.feedForward!.route(layer, batch.length);
  }

  takeChoices(layer: number, batch: Batch, choices: Uint32Array): void {
    const { step, feedForward } = this.#parts;
    const own = feedForward!.takeChoices(layer, choices);
    step.putChoices(this.#commands, batch.length, own);
  }

  ffnActivations(layer: number, batch: Batch): void {
    this.#layer = layer;
    this.#parts.feedForward?.activate(layer, batch.length);
  }

  keepAbove(_batch: Batch, thresholds: Float32Array): void {
    this.#parts.feedForward?.keepAbove(this.#layer, thresholds);
  }

  down(layer: number, batch: Batch): void {
    this.#parts.feedForward?.down(layer, batch.length);
  }

  head(batch: Batch): void {
    const { head } = this.#parts;
    head?.run(batch, head.portion(batch));
  }

  submit(): void {
    this.#commands.submit();
    // While the device works, and others compute what it waits for then.
    this.#commands.encodeAhead();
  }

  startTrace(): void {
    if (this.#isTraceable) this.#commands.trace = new DeviceTrace(this.device);
  }

  mark(activity: Activity, layer?: number): void {
    this.#commands.mark(activity, layer);
  }

  async endTrace(): Promise<TraceEvent[] | undefined> {
    const { trace } = this.#commands;
    this.#commands.trace = undefined;
    return await trace?.events();
  }

  setResidual(residual: Float32Array, batch: Batch): void {
    this.#parts.residual.set(residual, batch.length);
  }

  addToResidual(sum: Float32Array, batch: Batch): void {
    this.#parts.residual.add(sum, batch.length);
  }

  residual(batch: Batch): Float32Array | Promise<Float32Array> {
    const { residual } = this.#parts;
    residual.settle(batch.length);
    return this.#read(
      residual.region(batch.length),
      (bytes) => residual.take(new Float32Array(bytes), batch.length),
    );
  }

  neurons(batch: Batch): Float32Array[] | Promise<Float32Array[]> {
    const { feedForward } = this.#parts;
    if (!feedForward) return [];
    const { used, ffnActivations: { buffer, stride } } = feedForward;
    const neurons = feedForward.neuronsOf(this.#layer);
    const region = { buffer, bytes: 4 * batch.length * used * stride };
    return this.#read(
      region,
      (bytes) =>
        Array.from({ length: batch.length }, (_, t) => {
          const row = new Float32Array(used * neurons);
          for (let slot = 0; slot < used; slot++) {
            if (!feedForward.isHere(t * used + slot)) continue;
            const at = 4 * (t * used + slot) * stride;
            row.set(new Float32Array(bytes, at, neurons), slot * neurons);
          }
          return row;
        }),
    );
  }

  logits(batch: Batch): Float32Array[] | Promise<Float32Array[]> {
    const { results, ahead } = this.#parts;
    if (this.#given) return [this.#rowOf(this.#given)];
    if (!results || batch.logitCount === 0) {
      this.submit();
      return [];
    }
    const behind = this.#countBehind(batch);
    if (behind > 0) return this.#runWith(behind, batch);
    return after(results.of(batch), (rows) => {
      if (!this.#commands.trace) ahead?.note(batch, rows[0]);
      return rows;
    });
  }

  /** How many greedy tokens can be computed behind a step: none where something of it went elsewhere. */
  #countBehind(batch: Batch): number {
    const { ahead, attention } = this.#parts;
    const { hasSubmitted, trace } = this.#commands;
    if (!ahead || hasSubmitted || trace) return 0;
    const splits = attention?.splits(batch);
    return ahead.countBehind(
      batch,
      (behind) => attention?.splits(behind) === splits,
    );
  }

  /** Runs a step and some behind it. */
  #runWith(
    behind: number,
    batch: Batch,
  ): Float32Array[] | Promise<Float32Array[]> {
    const { head, readBack } = this.#parts, ahead = this.#parts.ahead!;
    const { buffer } = head!.region(batch, 1);
    const region = ahead.run(
      batch,
      behind,
      buffer,
      (batch) => this.#upload(batch),
    );
    return readBack.read(
      [region],
      (bytes) => [this.#rowOf(ahead.results(batch, bytes, region))],
    );
  }

  /** The row of a result; counts what its step has counted. */
  #rowOf({ row, figures }: Result): Float32Array {
    this.#given = undefined;
    this.#commands.isIdle = false;
    this.#takeFigures(figures);
    return row;
  }

  /** Frees its buffers, and the device where it is its own. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.options.device) this.buffers.releaseAll();
    else this.device.destroy();
    return Promise.resolve();
  }

  #sharedNorm(of: Squares, layer: number): SharedNorm {
    const { attention, feedForward } = this.#parts;
    return of === "neuron-squares"
      ? feedForward!.sharedNorm(layer)
      : attention!.sharedNorm(layer, of === "qk-squares" ? "qk" : "heads");
  }

  /** Reads a region, and the counters with it. */
  #read<T>(region: Region, take: (bytes: ArrayBuffer) => T): T | Promise<T> {
    const { readBack, counters } = this.#parts;
    const figures = { buffer: counters, bytes: counters.size };
    return readBack.read([region, figures], (bytes) => {
      this.#takeFigures(new Uint32Array(bytes, region.bytes));
      return take(bytes);
    });
  }

  #takeFigures(figures: Uint32Array): void {
    const { feedForward } = this.#parts;
    this.#counters.take(
      figures,
      (layer, single, tiled) => feedForward?.counted(layer, single, tiled),
    );
  }

  #makeParts(): Parts {
    const { buffers, options, layout, counts, device: { pipelines } } = this;
    const { bytes, layers, staging } = layout;
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const commands = this.#commands, weights = this.#weights;
    const context: PlaceContext = {
      commands,
      buffers,
      weights,
      counts,
      options,
      layout,
      pipelines,
      scales: bytes.scales > 0
        ? buffers.make("scales", bytes.scales, STORAGE | COPY_DST)
        : undefined,
      uniforms: new Uniforms(buffers, bytes.uniforms),
      step: buffers.make("step", bytes.step, STORAGE | COPY_DST),
      counters: buffers.make("counters", bytes.counters, STORAGE | COPY_SRC),
    };
    const step = new Step(context.step, options.model, weights.ropeFactors);
    const residual = new Residual(context);
    const head = layout.head && new Head(context, residual);
    const hasHeads = layers.some(({ attention }) => attention);
    const hasNeurons = layers.some(({ feedForward }) => feedForward);
    return {
      step,
      counters: context.counters,
      residual,
      readBack: new ReadBack(buffers, commands, staging, options.readBack),
      attention: hasHeads ? new Attention(context, residual) : undefined,
      feedForward: hasNeurons ? new FeedForward(context, residual) : undefined,
      head,
      ahead: bytes.ahead > 0 ? new TokensAhead(context) : undefined,
      results: head &&
        new Results(head, step, commands, this.#read.bind(this)),
    };
  }
}

interface Parts {
  readonly step: Step;
  readonly counters: GPUBuffer;
  readonly residual: Residual;
  readonly readBack: ReadBack;
  readonly attention?: Attention;
  readonly feedForward?: FeedForward;
  readonly head?: Head;
  readonly ahead?: TokensAhead;
  readonly results?: Results;
}
