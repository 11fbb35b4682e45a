/**
 * Places that run steps together: what the engine talks to.
 *
 * @module
 */
import type { Model } from "../model/model.ts";
import { lengthOf } from "../model/index_set.ts";
import { allPlaces, type Plan } from "../plan/plan.ts";
import { scheduleOf, type Side, type Stage } from "../plan/schedule.ts";
import type { Sparsity } from "../plan/sparsity.ts";
import type { Rates } from "../plan/rates.ts";
import { Batch, type BatchLimits } from "./batch.ts";
import { exchange, type Sides } from "./exchange.ts";
import { forward, type GpuSidePlace, type Place } from "./place.ts";
import type { MeasuredGpu } from "./gpu_use.ts";
import type { NeuronCounts } from "./neuron_counts.ts";
import type { FfnInputs } from "./ffn_inputs.ts";
import type { LayerCounts } from "./stats.ts";
import { resultLength } from "./top_row.ts";
import {
  type Lane,
  type OnTrace,
  Recorder,
  traceGpu,
  watched,
} from "./trace.ts";
import { Turns } from "../platform/time_slice.ts";

/** Runs one step at a time. */
export interface Team extends AsyncDisposable {
  /** What computes, for people: `WASM relaxed SIMD, 2 threads`. */
  readonly description: string;
  /** Which neurons are computed. */
  readonly sparsity: Sparsity;
  /** Which place holds what. */
  readonly plan: Plan;
  /** The limits of a step. */
  readonly limits: BatchLimits;
  /** Fill this in, then {@linkcode run}. */
  readonly batch: Batch;
  /** Bytes of weights that all places hold. */
  readonly weightBytes: number;
  /** Counters of each place. */
  readonly counts: readonly LayerCounts[];
  /** Counters of every neuron, where the options ask for them. */
  readonly neuronCounts?: NeuronCounts;
  /** What the feed-forward layers of the last step read, where the options ask for it. */
  readonly ffnInputs?: FfnInputs;
  /** How fast each place reads its rows, where it has measured that. */
  readonly rates: readonly Rates[];
  /** How a GPU takes part, where one does. */
  readonly gpu?: MeasuredGpu;
  /**
   * Runs the batch. Gives a row of logits, `[vocabSize]`, for each token that
   * wants one, in the batch's order; valid until the next run. Where the batch
   * wants the largest alone, and a GPU can pick them, rows are shorter and are
   * what `unpackTop` reads. `onTrace` is told what the places did when.
   *
   * @throws {PlaceError} where a place died
   */
  run(onTrace?: OnTrace): Promise<Float32Array[]>;
  /**
   * Measures the rates anew, by all places at once, between two runs.
   *
   * @throws {PlaceError} where a place died
   */
  measureRates(): Promise<readonly Rates[]>;
}

/** Places in the caller's thread, in lockstep and in time shards. */
export class InlineTeam implements Team {
  /** See {@linkcode Team.batch}. */
  readonly batch: Batch;
  /** See {@linkcode Team.weightBytes}. */
  readonly weightBytes: number;
  /** See {@linkcode Team.counts}. */
  readonly counts: readonly LayerCounts[];
  /** See {@linkcode Team.rates}. */
  rates: readonly Rates[];
  readonly #schedule: readonly Stage[];

  /** `sides` hold what `plan` says, in its order. */
  constructor(
    readonly description: string,
    readonly model: Model,
    readonly plan: Plan,
    readonly sides: Sides,
    readonly sparsity: Sparsity,
    readonly limits: BatchLimits,
    readonly neuronCounts?: NeuronCounts,
    readonly ffnInputs?: FfnInputs,
  ) {
    const { cpu, gpu } = sides;
    this.#schedule = scheduleOf(model, plan);
    const all = gpu ? [...cpu, gpu] : cpu;
    this.rates = cpu.flatMap(({ rates }) => rates ?? []);
    this.batch = new Batch(limits, new ArrayBuffer(Batch.byteLength(limits)));
    this.counts = all.map((place) => place.counts);
    this.weightBytes = all.reduce((sum, p) => sum + p.weightBytes, 0);
  }

  /** See {@linkcode Team.run}. */
  async run(onTrace?: OnTrace): Promise<Float32Array[]> {
    return onTrace ? await this.#trace(onTrace) : await this.#step(this.sides);
  }

  async #trace(onTrace: OnTrace): Promise<Float32Array[]> {
    const { gpu } = this.sides;
    const lanes = this.sides.cpu.map(() => new Recorder());
    const cpu = this.sides.cpu.map((place, i) => watched(place, lanes[i]));
    let rows: Float32Array[] = [];
    const step = async (gpu?: GpuSidePlace) => {
      rows = await this.#step({ cpu, gpu });
    };
    const gpuLanes = gpu && await traceGpu(gpu, new Recorder(), step);
    if (!gpu) await step();
    onTrace([
      ...lanes.map(({ events }): Lane => ({ kind: "cpu", events })),
      ...gpuLanes ?? [],
    ]);
    return rows;
  }

  async #step(sides: Sides): Promise<Float32Array[]> {
    const { batch, sparsity } = this;
    const pass = (side: Side, place: Place) =>
      forward(this.#schedule, side, place, batch, sparsity);
    const cpuPasses = sides.cpu.map((place) => pass("cpu", place));
    const gpuPass = sides.gpu && pass("gpu", sides.gpu);
    const turns = new Turns();
    for (;;) {
      const meetings = [];
      if (gpuPass) {
        meetings.push(gpuPass.next());
        // The device works while this thread computes the CPU's share.
        if (meetings[0].value?.exchange === "sum-to-gpu") sides.gpu!.submit();
      }
      meetings.push(...cpuPasses.map((pass) => pass.next()));
      const { done, value } = meetings[0];
      if (done) break;
      await exchange(value, sides, batch, sparsity);
      if (turns.due) await turns.give();
    }
    return await this.#wholeRows(sides);
  }

  /** See {@linkcode Team.gpu}. */
  get gpu(): MeasuredGpu | undefined {
    return this.sides.gpu?.use;
  }

  /** See {@linkcode Team.measureRates}. */
  measureRates(): Promise<readonly Rates[]> {
    this.rates = this.sides.cpu.flatMap((place) =>
      place.measureRates?.() ?? []
    );
    return Promise.resolve(this.rates);
  }

  /** Stops the device, if there is one. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sides.gpu?.[Symbol.asyncDispose]();
  }

  async #wholeRows({ cpu, gpu }: Sides): Promise<Float32Array[]> {
    const { batch, plan, model } = this;
    const length = resultLength(batch, model.vocabSize, plan.gpu?.vocab);
    const rows = Array.from(
      { length: batch.logitCount },
      () => new Float32Array(length),
    );
    const plans = allPlaces(plan);
    const places = gpu ? [...cpu, gpu] : cpu;
    for (const [i, place] of places.entries()) {
      const { vocab } = plans[i];
      if (lengthOf(vocab) === 0) continue;
      const columns = await place.logits(batch);
      columns.forEach((part, r) => rows[r].set(part, vocab.start));
    }
    return rows;
  }
}
