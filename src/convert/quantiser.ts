import { startWorkers } from "../platform/rpc_worker.ts";
import { workerCount } from "../platform/threads.ts";
import { PlaceError } from "../errors.ts";
import { loadKernels } from "../kernels/kernels.ts";
import { instantiate } from "../kernels/memory.ts";
import type { Kernels } from "../../wasm/kernels.d.ts";
import type { QuantiserService } from "./quantiser_service.ts";
import { type Requantisation, requantise } from "./requantise.ts";

/** Stores weights as other types. */
export interface Quantiser {
  /** How many chunks to give it before the first comes back. */
  readonly chunksAhead: number;
  /**
   * Stores weights as another type. Their bytes are given up.
   *
   * @throws {UsageError} as `quantise` does
   * @throws {PlaceError} where a worker fails
   */
  store(weights: Requantisation): Promise<Uint8Array<ArrayBuffer>>;
  /** Stops its workers. */
  close(): Promise<void>;
}

let kernels: Promise<Kernels> | undefined;

/** Computes in the caller's thread. */
export const inlineQuantiser: Quantiser = {
  chunksAhead: 1,
  store: async (weights) => {
    kernels ??= loadKernels().then(({ module }) => instantiate(module));
    return requantise(await kernels, weights);
  },
  close: () => Promise.resolve(),
};

/**
 * Computes in `threads` workers, which start when the first weights come; one
 * for each core where left out. With 0 threads, or where workers are missing or
 * not permitted, in the caller's thread.
 *
 * @throws {UsageError} where `threads` is no whole number up to 256
 */
export function quantiserOf(threads?: number): Quantiser {
  const count = workerCount(threads);
  if (count === 0) return inlineQuantiser;
  const start = async () => {
    const { module } = await loadKernels();
    return await startWorkers<QuantiserService>(
      count,
      {
        role: "quantiser",
        name: "culm quantiser",
        foreign: (message) => new PlaceError(`Cannot quantise: ${message}`),
      },
      (worker) => worker.call("start", [module]),
    );
  };
  let started: ReturnType<typeof start> | undefined;
  let next = 0;
  return {
    // One that a worker is at, and one for it to go on with.
    chunksAhead: 2 * count,
    store: async (weights) => {
      const workers = await (started ??= start());
      if (workers.length === 0) return await inlineQuantiser.store(weights);
      const worker = workers[next++ % workers.length];
      const { buffer } = weights.bytes;
      return await worker.call("store", [weights], [buffer]);
    },
    close: async () => {
      const closed = new PlaceError(
        "Cannot quantise: the conversion is closed",
      );
      for (const worker of await (started ?? [])) worker.terminate(closed);
    },
  };
}
