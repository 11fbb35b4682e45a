/**
 * A place in a worker: loads its share by requests, then runs steps over shared
 * memory until the team stops.
 */
import { allShards, type Rows, type Shard } from "../../model/shard.ts";
import type { Rates } from "../../plan/machine.ts";
import { scheduleOf } from "../../plan/schedule.ts";
import type { Emit } from "../../platform/rpc_server.ts";
import { CpuPlace } from "../cpu/cpu_place.ts";
import { barrierAt, Participant } from "../exchange.ts";
import { GpuPlace } from "../gpu/gpu_place.ts";
import type { MeasuredGpu } from "../gpu_stats.ts";
import { openGpuPlace } from "../load_gpu_place.ts";
import { fill } from "../load_places.ts";
import { LoadProgress } from "../load_progress.ts";
import type { CpuSidePlace, GpuSidePlace } from "../place.ts";
import { zeros } from "../probe_model.ts";
import type { TeamOptions } from "../team.ts";
import { type Lane, type OnTrace, Recorder } from "../trace.ts";
import { traceCpu, traceGpu } from "../traced_place.ts";
import { Shared } from "./shared.ts";

/** What a place reports when it is ready for steps. */
export interface ReadyPlace {
  readonly rates?: Rates;
  readonly gpu?: MeasuredGpu;
}

/** Requested in this order: `start`, any `write`, `ready`, `setHotRows` of CPU places, `runSteps`. */
export class PlaceService {
  #shared!: Shared;
  #index!: number;
  #place!: CpuPlace | GpuPlace;
  #shards!: readonly Shard[];

  /** `emit` is given the lanes of each step that is traced. */
  constructor(readonly emit: Emit<readonly Lane[]>) {}

  /** Makes room for the weights of place `index`, the GPU's after the CPU's; gives their bytes. */
  async start(
    index: number,
    module: WebAssembly.Module,
    shared: SharedArrayBuffer,
    options: TeamOptions,
  ): Promise<number> {
    this.#shared = new Shared(options, shared);
    this.#index = index;
    const { counts, neuronCounts: neurons, ffnInputs, scores } = this.#shared;
    const plan = options.plan.places.at(index);
    this.#place = plan
      ? new CpuPlace(module, { ...options, plan }, {
        layers: counts[index],
        neurons,
        scores,
        ffnInputs: index === 0 ? ffnInputs : undefined,
      }, this.#shared.readQueues.at(index))
      : await openGpuPlace(options, counts[index]);
    this.#shards = [...allShards(this.#place.shards)];
    return this.#place.weightBytes;
  }

  /** In place of `start` and `write`: a GPU's place of zeros, to be measured by `ready`. */
  async probe(options: TeamOptions): Promise<void> {
    this.#place = await openGpuPlace(options);
    await this.writeZeros();
  }

  /** In place of every `write`: all weights are zero. */
  async writeZeros(): Promise<void> {
    await fill(this.#place, zeros, new LoadProgress(0));
  }

  /** Takes rows of a shard; gives their buffer back, to be read into again. */
  write(shard: number, rows: Rows): ArrayBuffer {
    this.#place.write(this.#shards[shard], rows);
    return rows.bytes.buffer;
  }

  async ready(): Promise<ReadyPlace> {
    await this.#place.ready();
    if (this.#place instanceof CpuPlace) return { rates: this.#place.rates };
    await this.#place.measure();
    return { gpu: this.#place.stats };
  }

  setHotRows(hotRows: readonly number[]): void {
    (this.#place as CpuPlace).setHotRows(hotRows);
  }

  /** Gives a device back, where the place has one. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#place instanceof GpuPlace) {
      await this.#place[Symbol.asyncDispose]();
    }
  }

  /** Runs steps until the team is stopped; stops the others where this place fails. */
  async runSteps(): Promise<void> {
    const { control } = this.#shared;
    try {
      const place = this.#place, shared = this.#shared;
      if (place instanceof CpuPlace) {
        runCpuSteps(place, this.#index, shared, this.emit);
      } else await runGpuSteps(place, this.#index, shared, this.emit);
    } catch (error) {
      if (control.failed) return self.close();
      control.fail();
      throw error;
    }
  }
}

/** Runs the steps of CPU place number `index`; blocks the thread while it waits. */
function runCpuSteps(
  place: CpuPlace,
  index: number,
  shared: Shared,
  onTrace: OnTrace,
): void {
  const { control, exchanged, options: { model, plan } } = shared;
  const schedule = scheduleOf(model, plan);
  const forward = (place: CpuSidePlace) => {
    const own = new Participant("cpu", place, index, exchanged);
    for (const point of own.forward(schedule)) {
      own.put(point);
      control.barrier("cpu", barrierAt(point));
      own.take(point);
    }
  };
  for (let step = 0;;) {
    const idleFrom = performance.now();
    step = control.nextStep(step);
    switch (control.task) {
      case "forward":
        forward(place);
        break;
      case "trace": {
        const recorder = control.recorder = new Recorder();
        const idleMs = performance.now() - idleFrom;
        const traced = traceCpu(place, recorder, idleMs);
        forward(traced.place);
        control.recorder = undefined;
        onTrace([traced.end()]);
        break;
      }
      case "measure":
        shared.putRates(index, place.measureRates());
        break;
      case "reserve":
        shared.putPages(index, place.reserve(shared.pagesWanted));
        break;
      case "readPage":
        place.readPage(...shared.moved, shared.rows);
        break;
      case "writePage":
        place.writePage(...shared.moved, shared.rows);
    }
    control.finishStep(index, step);
  }
}

/** Runs the steps of the GPU's place; attends to the device's events between them. */
async function runGpuSteps(
  place: GpuPlace,
  index: number,
  shared: Shared,
  onTrace: OnTrace,
): Promise<void> {
  const { control, exchanged, options: { model, plan } } = shared;
  const schedule = scheduleOf(model, plan);
  const forward = async (place: GpuSidePlace) => {
    const own = new Participant("gpu", place, index, exchanged);
    for (const point of own.forward(schedule)) {
      await own.put(point);
      control.barrier("gpu", barrierAt(point));
      await own.take(point);
    }
  };
  for (let step = 0;;) {
    step = await control.nextStepLater(step);
    const { task } = control;
    if (task === "forward") await forward(place);
    else if (task === "trace") {
      const recorder = control.recorder = new Recorder();
      const lanes = await traceGpu(place, recorder, forward);
      control.recorder = undefined;
      onTrace(lanes);
    } else if (task === "reserve") {
      shared.putPages(index, place.reserve(shared.pagesWanted));
    } else if (task === "readPage") {
      await place.readPage(...shared.moved, shared.rows);
    } else if (task === "writePage") {
      place.writePage(...shared.moved, shared.rows);
    }
    shared.putGpuCounts(place.stats.counts);
    control.finishStep(index, step);
  }
}
