/**
 * The GPU's place in a worker of its own.
 *
 * @module
 */
import { stagesOf } from "../../plan/stages.ts";
import type { GpuPlace } from "../gpu/gpu_place.ts";
import { openGpuPlace } from "../load_places.ts";
import { forward } from "../place.ts";
import type { PlaceSlices, Rows, Slice } from "../slices.ts";
import type { GpuUse } from "../gpu_use.ts";
import type { TeamOptions } from "./messages.ts";
import type { Shared } from "./shared.ts";
import type { Resident } from "./worker.ts";

/** Attends to the device's events between steps. */
export class GpuResident implements Resident {
  private constructor(
    readonly place: GpuPlace,
    readonly options: TeamOptions,
    readonly shared: Shared,
    readonly index: number,
  ) {}

  /**
   * Opens the device and makes room for the weights.
   *
   * @throws {GpuError} where there is none, or no room
   */
  static async open(
    options: TeamOptions,
    shared: Shared,
    index: number,
  ): Promise<GpuResident> {
    const place = await openGpuPlace(options, shared.counts[index]);
    return new GpuResident(place, options, shared, index);
  }

  /** See {@linkcode Resident.weightBytes}. */
  get weightBytes(): number {
    return this.place.weightBytes;
  }

  /** See {@linkcode Resident.slices}. */
  get slices(): PlaceSlices {
    return this.place.slices;
  }

  /** See {@linkcode Resident.gpu}. */
  get gpu(): GpuUse {
    return this.place.use;
  }

  /** See {@linkcode Resident.write}. */
  write(slice: Slice, rows: Rows): void {
    this.place.write(slice, rows);
  }

  /** See {@linkcode Resident.ready}. */
  async ready(): Promise<void> {
    await this.place.ready();
  }

  /** See {@linkcode Resident.runSteps}. */
  async runSteps(): Promise<void> {
    const { shared, place, index } = this;
    const { control, batch } = shared;
    const { model, plan, sparsity } = this.options;
    const stages = stagesOf(model, plan);
    const share = sparsity.mode === "top-k" ? sparsity.share : 1;
    for (let step = 0;;) {
      step = await control.nextStepLater(step);
      if (control.task === "forward") {
        for (const meeting of forward(stages, "gpu", place, batch, sparsity)) {
          await shared.meetFromGpu(meeting, place, share);
        }
        shared.putGpuCounts(place.use.counts);
      }
      control.finishStep(index, step);
    }
  }
}
