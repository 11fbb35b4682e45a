/**
 * What runs in a place's worker.
 *
 * @module
 */
import type { CpuPlace } from "../cpu/cpu_place.ts";
import type { GpuPlace } from "../gpu/gpu_place.ts";
import type { OnTrace } from "../trace.ts";

/** A place, and the loop that runs its steps. */
export interface WorkerLoop {
  readonly place: CpuPlace | GpuPlace;
  /** Gives `onTrace` what traced steps recorded. Returns, or throws, when the team is stopped. */
  runSteps(onTrace: OnTrace): void | Promise<void>;
}
