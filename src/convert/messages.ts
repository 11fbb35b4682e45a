/**
 * What the one who converts and its workers post to one another.
 *
 * @module
 */
import type { WorkerError } from "../platform/rpc_worker.ts";
import type { Requantisation } from "./requantise.ts";

/** To a worker: the kernels first, then any weights. */
export type ToWorker =
  | { readonly kind: "start"; readonly module: WebAssembly.Module }
  | { readonly kind: "weights"; readonly weights: Requantisation };

/** From a worker: an answer to each message, in their order. */
export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "stored"; readonly bytes: Uint8Array<ArrayBuffer> }
  | WorkerError;
