/** A team in one thread, the caller's. */
import { TimeSlice } from "../platform/time_slice.ts";
import type { Rates } from "../plan/machine.ts";
import { scheduleOf, type Stage } from "../plan/schedule.ts";
import { Batch } from "./batch.ts";
import { Participant } from "./exchange.ts";
import { ExchangeBuffers, type ExchangeOptions } from "./exchange_buffers.ts";
import type { Counters } from "./cpu/options.ts";
import type { FfnInputs } from "./ffn_inputs.ts";
import type { MeasuredGpu } from "./gpu_stats.ts";
import type { NeuronCounts } from "./neuron_counts.ts";
import type {
  CpuSidePlace,
  ExchangePoint,
  GpuSidePlace,
  Place,
} from "./place.ts";
import type { ScoreCounts } from "./score_counts.ts";
import type { LayerCounts } from "./stats.ts";
import { readLayers, type Team, writeLayers } from "./team.ts";
import { type OnTrace, Recorder } from "./trace.ts";
import { traceCpu, traceGpu } from "./traced_place.ts";

/** Places that run steps together. */
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
  readonly neuronCounts?: NeuronCounts;
  readonly ffnInputs?: FfnInputs;
  readonly scores?: ScoreCounts;
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
    kept: Omit<Counters, "layers"> = {},
  ) {
    const { cpu, gpu } = sides, { model, plan, limits } = options;
    this.#schedule = scheduleOf(model, plan);
    const all = this.#places = gpu ? [...cpu, gpu] : cpu;
    this.rates = cpu.flatMap(({ rates }) => rates ?? []);
    this.neuronCounts = kept.neurons;
    this.ffnInputs = kept.ffnInputs;
    this.scores = kept.scores;
    const bytes = Batch.byteLength(limits, model);
    this.batch = new Batch(limits, model, new ArrayBuffer(bytes));
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
    for (const place of this.sides.cpu) place[Symbol.dispose]?.();
    await this.sides.gpu?.[Symbol.asyncDispose]();
  }
}
