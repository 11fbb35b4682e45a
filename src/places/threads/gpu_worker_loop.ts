/**
 * The GPU's place in a worker of its own.
 *
 * @module
 */
import { scheduleOf, type Stage } from "../../plan/schedule.ts";
import type { GpuPlace } from "../gpu/gpu_place.ts";
import { openGpuPlace } from "../load_places.ts";
import { barrierAt, Participant } from "../exchange.ts";
import type { GpuSidePlace } from "../place.ts";
import { type Lane, type OnTrace, Recorder } from "../trace.ts";
import { traceGpu } from "../traced_place.ts";
import type { TeamOptions } from "../team_options.ts";
import type { Shared } from "./shared.ts";
import type { WorkerLoop } from "./worker_loop.ts";

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

  /** See {@linkcode WorkerLoop.runSteps}. */
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
