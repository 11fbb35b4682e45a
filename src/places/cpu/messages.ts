/**
 * What the coordinator and its workers post to one another while loading.
 * Steps go over shared memory, not over messages.
 *
 * @module
 */
import type { Model } from "../../model/model.ts";
import type { Plan } from "../../plan/plan.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import type { BatchLimits } from "../batch.ts";
import type { Rows } from "../slices.ts";
import type { CacheType } from "./kv_cache.ts";

/** What all CPU places of a team have in common. */
export interface CpuTeamOptions {
  readonly model: Model;
  readonly plan: Plan;
  readonly sparsity: Sparsity;
  readonly limits: BatchLimits;
  readonly cacheType: CacheType;
  /** Count what the predictor misses, at the price of computing everything. */
  readonly measureRecall: boolean;
}

/** From the coordinator to a worker, in this order: `start`, any `rows`, `run`. */
export type ToWorker =
  | {
    readonly kind: "start";
    readonly index: number;
    readonly module: WebAssembly.Module;
    readonly shared: SharedArrayBuffer;
    readonly options: CpuTeamOptions;
  }
  | { readonly kind: "rows"; readonly slice: number; readonly rows: Rows }
  | { readonly kind: "run" };

/** From a worker: an answer to each message, or why it cannot go on. */
export type FromWorker =
  | { readonly kind: "ready"; readonly weightBytes: number }
  | { readonly kind: "written" }
  | { readonly kind: "running" }
  | {
    readonly kind: "error";
    readonly name: string;
    readonly message: string;
  };
