/**
 * The loops by which places in workers of their own run steps.
 *
 * @module
 */
import { scheduleOf, type Stage } from "../../plan/schedule.ts";
import { CpuPlace } from "../cpu/cpu_place.ts";
import { barrierAt, Participant } from "../exchange.ts";
import type { GpuPlace } from "../gpu/gpu_place.ts";
import { openGpuPlace } from "../load_places.ts";
import type { GpuSidePlace } from "../place.ts";
import type { TeamOptions } from "../team.ts";
import { type Lane, type OnTrace, Recorder } from "../trace.ts";
import { traceGpu, watched } from "../traced_place.ts";
import type { Shared } from "./shared.ts";

/** A place, and the loop that runs its steps. */
export interface WorkerLoop {
  readonly place: CpuPlace | GpuPlace;
  /** Gives `onTrace` what traced steps recorded. Returns, or throws, when the team is stopped. */
  runSteps(onTrace: OnTrace): void | Promise<void>;
}

/** Place number `index` of a plan; blocks its thread while it waits. */
export class CpuWorkerLoop implements WorkerLoop {
  readonly place: CpuPlace;
  readonly #schedule: readonly Stage[];

  /** Makes room for the weights. */
  constructor(
    module: WebAssembly.Module,
    readonly options: TeamOptions,
    readonly shared: Shared,
    readonly index: number,
  ) {
    const plan = options.plan.places[index];
    this.#schedule = scheduleOf(options.model, options.plan);
    this.place = new CpuPlace(module, { ...options, plan }, {
      layers: shared.counts[index],
      neurons: shared.neuronCounts,
      ffnInputs: index === 0 ? shared.ffnInputs : undefined,
    });
  }

  runSteps(onTrace: OnTrace): void {
    const { shared, index } = this;
    const { control } = shared;
    for (let step = 0;;) {
      step = control.nextStep(step);
      switch (control.task) {
        case "forward":
          this.#forward(this.place);
          break;
        case "trace":
          onTrace(this.#trace());
          break;
        case "measure":
          shared.putRates(index, this.place.measureRates());
          break;
        case "reserve":
          shared.putPages(index, this.place.reserve(shared.pagesWanted));
      }
      control.finishStep(index, step);
    }
  }

  #forward(place: CpuPlace): void {
    const { shared: { control, exchanged }, index } = this;
    const own = new Participant("cpu", place, index, exchanged);
    for (const point of own.forward(this.#schedule)) {
      own.put(point);
      control.barrier("cpu", barrierAt(point));
      own.take(point);
    }
  }

  #trace(): Lane[] {
    const { control } = this.shared;
    const recorder = control.recorder = new Recorder();
    this.#forward(watched(this.place, recorder));
    control.recorder = undefined;
    return [{ kind: "cpu", events: recorder.events }];
  }
}

/** Attends to the device's events between steps. */
export class GpuWorkerLoop implements WorkerLoop {
  readonly #schedule: readonly Stage[];

  private constructor(
    readonly place: GpuPlace,
    readonly options: TeamOptions,
    readonly shared: Shared,
    readonly index: number,
  ) {
    this.#schedule = scheduleOf(options.model, options.plan);
  }

  /**
   * Opens the device and makes room for the weights.
   *
   * @throws {GpuError} where there is none, or no room
   */
  static async open(
    options: TeamOptions,
    shared: Shared,
    index: number,
  ): Promise<GpuWorkerLoop> {
    const place = await openGpuPlace(options, shared.counts[index]);
    return new GpuWorkerLoop(place, options, shared, index);
  }

  async runSteps(onTrace: OnTrace): Promise<void> {
    const { shared, place, index } = this;
    const { control } = shared;
    for (let step = 0;;) {
      step = await control.nextStepLater(step);
      if (control.task === "forward") await this.#forward(place);
      else if (control.task === "trace") onTrace(await this.#trace());
      else if (control.task === "reserve") {
        shared.putPages(index, place.reserve(shared.pagesWanted));
      }
      shared.putGpuCounts(place.stats.counts);
      control.finishStep(index, step);
    }
  }

  async #forward(place: GpuSidePlace): Promise<void> {
    const { shared: { control, exchanged }, index } = this;
    const own = new Participant("gpu", place, index, exchanged);
    for (const point of own.forward(this.#schedule)) {
      await own.put(point);
      control.barrier("gpu", barrierAt(point));
      await own.take(point);
    }
  }

  async #trace(): Promise<Lane[]> {
    const { control } = this.shared;
    const recorder = control.recorder = new Recorder();
    const lanes = await traceGpu(
      this.place,
      recorder,
      (place) => this.#forward(place),
    );
    control.recorder = undefined;
    return lanes;
  }
}
