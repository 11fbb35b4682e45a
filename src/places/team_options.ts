/**
 * What the places of a team are made from.
 *
 * @module
 */
import type { Plan } from "../plan/plan.ts";
import type { CpuPlaceOptions } from "./cpu/cpu_place.ts";

/** What all places of a team have in common. */
export interface TeamOptions extends Omit<CpuPlaceOptions, "plan"> {
  readonly plan: Plan;
  /** Count how often each neuron fires. */
  readonly countNeurons?: boolean;
  /** Keep what the feed-forward layers of a step read. */
  readonly keepFfnInputs?: boolean;
  /** Measure how fast the GPU is: takes a while, and only a plan requires it. */
  readonly measureGpu?: boolean;
  /** Bytes that the GPU's place may take, at most. */
  readonly gpuBytes?: number;
}
