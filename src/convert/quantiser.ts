/**
 * Who stores weights as other types: the caller's thread, or workers.
 *
 * @module
 */
import { type CulmError, PlaceError, UsageError } from "../errors.ts";
import { loadKernels } from "../places/cpu/kernels.ts";
import { instantiate } from "../places/cpu/memory.ts";
import type { Kernels } from "../../wasm/kernels.d.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { type Requantisation, requantise } from "./requantise.ts";
import workerText from "./worker.bundle.js" with { type: "text" };

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

const mostThreads = 256;

const cores = globalThis.navigator?.hardwareConcurrency ?? 1;

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
export function quantiserOf(
  threads: number = Math.min(cores, mostThreads),
): Quantiser {
  if (!Number.isInteger(threads) || threads < 0 || threads > mostThreads) {
    throw new UsageError(
      `Cannot use threads ${threads}: needs a whole number from 0 to ${mostThreads}`,
    );
  }
  if (threads === 0 || typeof Worker === "undefined") return inlineQuantiser;
  let started: Promise<readonly QuantiseWorker[]> | undefined;
  let next = 0;
  return {
    // One that a worker is at, and one for it to go on with.
    chunksAhead: 2 * threads,
    store: async (weights) => {
      const workers = await (started ??= startWorkers(threads));
      if (workers.length === 0) return await inlineQuantiser.store(weights);
      return await workers[next++ % workers.length].store(weights);
    },
    close: async () => {
      for (const worker of await (started ?? [])) worker.terminate();
    },
  };
}

/** Starts workers: none where one cannot be had. */
async function startWorkers(
  threads: number,
): Promise<readonly QuantiseWorker[]> {
  const { module } = await loadKernels();
  const blob = new Blob([workerText], { type: "text/javascript" });
  const url = URL.createObjectURL(blob);
  const workers: QuantiseWorker[] = [];
  try {
    for (let i = 0; i < threads; i++) workers.push(new QuantiseWorker(url));
    await Promise.all(workers.map((worker) => worker.start(module)));
    return workers;
  } catch {
    for (const worker of workers) worker.terminate();
    return [];
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** A worker, and the answers that are still to come from it. */
class QuantiseWorker {
  readonly #worker: Worker;
  readonly #answers: PromiseWithResolvers<FromWorker>[] = [];
  #failure?: CulmError;

  constructor(url: string) {
    this.#worker = new Worker(url, { type: "module", name: "culm quantiser" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      const answer = this.#answers.shift();
      if (data.kind === "error") answer?.reject(errorOf(data));
      else answer?.resolve(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new PlaceError(`Cannot quantise: ${event.message}`));
    };
  }

  async start(module: WebAssembly.Module): Promise<void> {
    await this.#ask({ kind: "start", module });
  }

  async store(weights: Requantisation): Promise<Uint8Array<ArrayBuffer>> {
    const { buffer } = weights.bytes;
    const answer = await this.#ask({ kind: "weights", weights }, [buffer]);
    return (answer as Extract<FromWorker, { kind: "stored" }>).bytes;
  }

  /** Stops the worker; what was asked and is not answered fails. */
  terminate(): void {
    this.#worker.terminate();
    this.#fail(new PlaceError("Cannot quantise: the conversion is closed"));
  }

  #ask(message: ToWorker, transfer: Transferable[] = []): Promise<FromWorker> {
    if (this.#failure) return Promise.reject(this.#failure);
    const answer = Promise.withResolvers<FromWorker>();
    this.#answers.push(answer);
    this.#worker.postMessage(message, transfer);
    return answer.promise;
  }

  #fail(failure: CulmError): void {
    this.#failure ??= failure;
    for (const { reject } of this.#answers.splice(0)) reject(failure);
  }
}

function errorOf(
  { name, message }: Extract<FromWorker, { kind: "error" }>,
): CulmError {
  return name === "UsageError"
    ? new UsageError(message)
    : new PlaceError(`Cannot quantise: ${message}`);
}
