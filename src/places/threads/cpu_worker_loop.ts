/**
 * A CPU place in a worker of its own.
 *
 * @module
 */
import { scheduleOf, type Stage } from "../../plan/schedule.ts";
import { CpuPlace } from "../cpu/cpu_place.ts";
import { barrierAt, Participant } from "../exchange.ts";
import { type Lane, type OnTrace, Recorder } from "../trace.ts";
import { watched } from "../traced_place.ts";
import type { TeamOptions } from "../team_options.ts";
import type { Shared } from "./shared.ts";
import type { WorkerLoop } from "./worker_loop.ts";

/** Place number `index` of a plan; blocks its thread while it waits. */
export class CpuWorkerLoop implements WorkerLoop {
  /** See {@linkcode WorkerLoop.place}. */
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

  /** See {@linkcode WorkerLoop.runSteps}. */
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
