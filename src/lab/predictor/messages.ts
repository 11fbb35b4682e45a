/**
 * What the one who makes a predictor and its workers post to one another.
 *
 * @module
 */
import type { WorkerError } from "../../platform/rpc_worker.ts";
import type { MadeLayer, PredictorPlan } from "./layer_work.ts";

/** A tensor's bytes, and where they lie in the model's file. */
export interface HeldTensor {
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** To a worker: the plan first, then any layers. */
export type ToWorker =
  | {
    readonly kind: "start";
    readonly module: WebAssembly.Module;
    readonly plan: PredictorPlan;
  }
  | {
    readonly kind: "layer";
    readonly layer: number;
    readonly states: Float32Array<ArrayBuffer>;
    readonly tensors: readonly HeldTensor[];
  };

/** From a worker: an answer to each message, in their order, and steps between. */
export type FromWorker =
  | { readonly kind: "ready" }
  | {
    readonly kind: "step";
    readonly layer: number;
    readonly rank: number;
    readonly done: number;
  }
  | { readonly kind: "made"; readonly made: MadeLayer }
  | WorkerError;
