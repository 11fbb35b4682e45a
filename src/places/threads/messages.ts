/**
 * What the coordinator and its workers post to one another while loading.
 * Steps go over shared memory, not over messages.
 *
 * @module
 */
import type { Rates } from "../../plan/rates.ts";
import type { Plan } from "../../plan/plan.ts";
import type { CpuPlaceOptions } from "../cpu/bank.ts";
import type { Rows } from "../../model/shard.ts";
import type { MeasuredGpu } from "../gpu_use.ts";
import type { Lane } from "../trace.ts";

/** What all places of a team have in common. */
export interface TeamOptions extends Omit<CpuPlaceOptions, "plan"> {
  readonly plan: Plan;
  /** Count how often each neuron fires. */
  readonly countNeurons?: boolean;
  /** Keep what the feed-forward layers of a step read. */
  readonly keepFfnInputs?: boolean;
  /** Measure how fast the GPU is: takes a while, and only a plan asks for it. */
  readonly measureGpu?: boolean;
  /** Bytes that the GPU's place may take, at most. */
  readonly gpuBytes?: number;
}

/** From the coordinator to a worker, in this order: `start`, any `rows`, `run`. */
export type ToWorker =
  | {
    readonly kind: "start";
    /** Of the place in the plan; the GPU's comes after the CPU's */
    readonly index: number;
    readonly module: WebAssembly.Module;
    readonly shared: SharedArrayBuffer;
    readonly options: TeamOptions;
  }
  | { readonly kind: "rows"; readonly shard: number; readonly rows: Rows }
  | { readonly kind: "run" };

/** From a worker: an answer to each message, or why it cannot go on. */
export type FromWorker =
  | { readonly kind: "ready"; readonly weightBytes: number }
  /** Gives the buffer of the rows back, to be read into again */
  | { readonly kind: "written"; readonly spare: ArrayBuffer }
  | {
    readonly kind: "running";
    readonly rates?: Rates;
    readonly gpu?: MeasuredGpu;
  }
  /** After a step that was traced; nobody asked by a message */
  | { readonly kind: "traced"; readonly lanes: readonly Lane[] }
  | {
    readonly kind: "error";
    readonly name: string;
    readonly message: string;
  };
