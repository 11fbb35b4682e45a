/**
 * A CPU place in a worker of its own.
 *
 * @module
 */
import type { Rates } from "../../plan/border.ts";
import { stagesOf } from "../../plan/stages.ts";
import { CpuPlace } from "../cpu/cpu_place.ts";
import { forward } from "../place.ts";
import type { PlaceSlices, Rows, Slice } from "../slices.ts";
import type { TeamOptions } from "./messages.ts";
import type { Shared } from "./shared.ts";
import type { Resident } from "./worker.ts";

/** Place number `index` of a plan; blocks its thread while it waits. */
export class CpuResident implements Resident {
  readonly #place: CpuPlace;

  /** Makes room for the weights. */
  constructor(
    module: WebAssembly.Module,
    readonly options: TeamOptions,
    readonly shared: Shared,
    readonly index: number,
  ) {
    const plan = options.plan.places[index];
    this.#place = new CpuPlace(module, { ...options, plan }, {
      layers: shared.counts[index],
      neurons: shared.neuronCounts,
      normed: index === 0 ? shared.normedStates : undefined,
    });
  }

  /** See {@linkcode Resident.weightBytes}. */
  get weightBytes(): number {
    return this.#place.weightBytes;
  }

  /** See {@linkcode Resident.slices}. */
  get slices(): PlaceSlices {
    return this.#place.slices;
  }

  /** See {@linkcode Resident.rates}. */
  get rates(): Rates {
    return this.#place.rates;
  }

  /** See {@linkcode Resident.write}. */
  write(slice: Slice, rows: Rows): void {
    this.#place.write(slice, rows);
  }

  /** See {@linkcode Resident.ready}. */
  ready(): void {
    this.#place.ready();
  }

  /** See {@linkcode Resident.runSteps}. */
  runSteps(): void {
    const { shared, index } = this;
    const { control, batch } = shared;
    const { model, plan, sparsity } = this.options;
    const stages = stagesOf(model, plan);
    const share = sparsity.mode === "top-k" ? sparsity.share : 1;
    for (let step = 0;;) {
      step = control.nextStep(step);
      if (control.task === "measure") {
        shared.putRates(index, this.#place.measureRates());
      } else {
        const pass = forward(stages, "cpu", this.#place, batch, sparsity);
        for (const meeting of pass) {
          shared.meet(meeting, this.#place, index, share);
        }
      }
      control.finishStep(index, step);
    }
  }
}
