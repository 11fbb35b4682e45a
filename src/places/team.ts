/**
 * Places that run steps together: what they are made from, and what the engine
 * talks to.
 */
import type { Plan } from "../plan/plan.ts";
import type { Rates } from "../plan/machine.ts";
import { scheduleOf, type Stage } from "../plan/schedule.ts";
import { TimeSlice } from "../platform/time_slice.ts";
import { Batch, pagePositions } from "./batch.ts";
import type { CpuPlaceOptions } from "./cpu/options.ts";
import { Participant } from "./exchange.ts";
import { ExchangeBuffers, type ExchangeOptions } from "./exchange_buffers.ts";
import type { FfnInputs } from "./ffn_inputs.ts";
import type { MeasuredGpu } from "./gpu_stats.ts";
import type { NeuronCounts } from "./neuron_counts.ts";
import { kvLayerBytes } from "./kv_rows.ts";
import type {
  CpuSidePlace,
  ExchangePoint,
  GpuSidePlace,
  Place,
} from "./place.ts";
import type { LayerCounts } from "./stats.ts";
import { type OnTrace, Recorder } from "./trace.ts";
import { traceCpu, traceGpu } from "./traced_place.ts";

/** What all places of a team have in common. */
export interface TeamOptions extends Omit<CpuPlaceOptions, "plan"> {
  readonly plan: Plan;
  /** Count how often each neuron fires from the start; otherwise only while somebody watches. */
  readonly countNeurons?: boolean;
  /** Keep what the feed-forward layers of a step read. */
  readonly keepFfnInputs?: boolean;
  /** Bytes that the GPU's place may take, at most. */
  readonly gpuBytes?: number;
}

/** Runs one step at a time. */
export interface Team extends AsyncDisposable {
  /** What computes, for people: `WASM relaxed SIMD, 2 threads`. */
  readonly description: string;
  readonly options: ExchangeOptions;
  /** Fill this in, then {@linkcode run}. */
  readonly batch: Batch;
  readonly weightBytes: number;
  readonly counts: readonly LayerCounts[];
  /** Counters of every neuron that a CPU place has. */
  readonly neuronCounts?: NeuronCounts;
  /** What the feed-forward layers of the last step read, where the options require it. */
  readonly ffnInputs?: FfnInputs;
  /** How fast each place reads its rows, where it has measured that. */
  readonly rates: readonly Rates[];
  /** How a GPU takes part, where one does. */
  readonly gpu?: MeasuredGpu;
  /**
   * Makes KV pages in every place until there are so many, as far as there is
   * memory. Gives how many all of them have.
   *
   * @throws {PlaceError} where a place died
   */
  reserve(pages: number): Promise<number>;
  /**
   * Keys and values of the first `positions` of a page, as `kv_rows.ts` has
   * them, a layer behind another.
   *
   * @throws {PlaceError} where a place died
   */
  readPage(page: number, positions: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Has every place take such keys and values into a page that it has reserved.
   *
   * @throws {PlaceError} where a place died
   */
  writePage(page: number, rows: Uint8Array): Promise<void>;
  /**
   * Runs the batch. Gives a row of logits, `[vocabSize]`, for each token that
   * wants one, in the batch's order; valid until the next run. Where the batch
   * wants the largest alone, and a GPU can pick them, rows are shorter and are
   * what `unpackTopLogits` reads. `onTrace` is given what the places did when.
   *
   * @throws {PlaceError} where a place died
   */
  run(onTrace?: OnTrace): Promise<Float32Array[]>;
  /** How many ms its threads have slept while they waited for one another, since this was called last. */
  takeLostMs?(): number;
  /**
   * Measures the rates anew, by all places at once, between two runs.
   *
   * @throws {PlaceError} where a place died
   */
  measureRates(): Promise<readonly Rates[]>;
}

/** Has `read` fill the rows of each layer's page, and gives those of the first `positions`. */
export async function readLayers(
  { model, cacheType }: ExchangeOptions,
  positions: number,
  read: (layer: number, rows: Uint8Array) => Promise<void>,
  rows: Uint8Array = layerPage({ model, cacheType }),
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = positions * rows.length / pagePositions;
  const all = new Uint8Array(bytes * model.layers.length);
  for (let layer = 0; layer < model.layers.length; layer++) {
    await read(layer, rows);
    all.set(rows.subarray(0, bytes), layer * bytes);
  }
  return all;
}

/** Has `write` take the rows of each layer's page. */
export async function writeLayers(
  { model, cacheType }: ExchangeOptions,
  all: Uint8Array,
  write: (layer: number, rows: Uint8Array) => Promise<void>,
  rows: Uint8Array = layerPage({ model, cacheType }),
): Promise<void> {
  const bytes = all.length / model.layers.length;
  for (let layer = 0; layer < model.layers.length; layer++) {
    rows.set(all.subarray(layer * bytes, (layer + 1) * bytes));
    await write(layer, rows);
  }
}

function layerPage(
  { model, cacheType }: Pick<ExchangeOptions, "model" | "cacheType">,
): Uint8Array {
  return new Uint8Array(pagePositions * kvLayerBytes({ ...model, cacheType }));
}

export interface Sides {
  /** In the plan's order */
  readonly cpu: readonly CpuSidePlace[];
  readonly gpu?: GpuSidePlace;
}

/** Places in the caller's thread, in lockstep and in time slices. */
export class InlineTeam implements Team {
  readonly batch: Batch;
  readonly weightBytes: number;
  readonly counts: readonly LayerCounts[];
  rates: readonly Rates[];
  readonly #schedule: readonly Stage[];
  readonly #places: readonly Place[];
  readonly #exchanged: ExchangeBuffers;
  /** Goes on from step to step: those of a small model are shorter than a slice. */
  readonly #slice = new TimeSlice();

  /** `sides` hold what `plan` says, in its order. */
  constructor(
    readonly description: string,
    readonly options: ExchangeOptions,
    readonly sides: Sides,
    readonly neuronCounts?: NeuronCounts,
    readonly ffnInputs?: FfnInputs,
  ) {
    const { cpu, gpu } = sides, { model, plan, limits } = options;
    this.#schedule = scheduleOf(model, plan);
    const all = this.#places = gpu ? [...cpu, gpu] : cpu;
    this.rates = cpu.flatMap(({ rates }) => rates ?? []);
    const { vocabSize } = model;
    const bytes = Batch.byteLength(limits, vocabSize);
    this.batch = new Batch(limits, vocabSize, new ArrayBuffer(bytes));
    this.#exchanged = new ExchangeBuffers(options, this.batch);
    this.counts = all.map((place) => place.counts);
    this.weightBytes = all.reduce((sum, p) => sum + p.weightBytes, 0);
  }

  reserve(pages: number): Promise<number> {
    const held = this.#places.map((place) => place.reserve(pages));
    return Promise.resolve(Math.min(...held));
  }

  readPage(page: number, positions: number): Promise<Uint8Array<ArrayBuffer>> {
    return readLayers(this.options, positions, async (layer, rows) => {
      for (const place of this.#places) await place.readPage(layer, page, rows);
      if (this.#slice.isOver) await this.#slice.yield();
    });
  }

  writePage(page: number, rows: Uint8Array): Promise<void> {
    return writeLayers(this.options, rows, async (layer, rows) => {
      for (const place of this.#places) place.writePage(layer, page, rows);
      if (this.#slice.isOver) await this.#slice.yield();
    });
  }

  async run(onTrace?: OnTrace): Promise<Float32Array[]> {
    this.#exchanged.begin();
    if (onTrace) await this.#trace(onTrace);
    else await this.#step(this.sides);
    return this.#exchanged.resultRows();
  }

  async #trace(onTrace: OnTrace): Promise<void> {
    const { gpu } = this.sides;
    const traced = this.sides.cpu.map((place) =>
      traceCpu(place, new Recorder())
    );
    const cpu = traced.map(({ place }) => place);
    const step = (gpu?: GpuSidePlace) => this.#step({ cpu, gpu });
    const gpuLanes = gpu && await traceGpu(gpu, new Recorder(), step);
    if (!gpu) await step();
    onTrace([...traced.map((each) => each.end()), ...gpuLanes ?? []]);
  }

  async #step({ cpu, gpu }: Sides): Promise<void> {
    const buffers = this.#exchanged;
    // The GPU's first: the device works while this thread computes the CPU's share.
    const participants = [
      ...gpu ? [new Participant("gpu", gpu, cpu.length, buffers)] : [],
      ...cpu.map((place, i) => new Participant("cpu", place, i, buffers)),
    ];
    const passes = participants.map((each) => each.forward(this.#schedule));
    for (;;) {
      let point: ExchangePoint | void = undefined;
      for (const [i, participant] of participants.entries()) {
        point = passes[i].next().value;
        const done = point && participant.put(point);
        if (done) await done;
      }
      if (!point) return;
      for (const participant of participants) {
        const done = participant.take(point);
        if (done) await done;
      }
      if (this.#slice.isOver) await this.#slice.yield();
    }
  }

  get gpu(): MeasuredGpu | undefined {
    return this.sides.gpu?.stats;
  }

  measureRates(): Promise<readonly Rates[]> {
    this.rates = this.sides.cpu.flatMap((place) =>
      place.measureRates?.() ?? []
    );
    return Promise.resolve(this.rates);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sides.gpu?.[Symbol.asyncDispose]();
  }
}
