/**
 * Workers that answer one message after another. They are started as text, so
 * that no permission is needed.
 *
 * @module
 */
import { type CulmError, UsageError } from "../errors.ts";

const mostWorkers = 256;

/**
 * How many workers to start for `threads`: one for each core where that is left
 * out, none where there are no workers.
 *
 * @throws {UsageError} where `threads` is no whole number up to 256
 */
export function workerCount(
  threads: number = Math.min(
    globalThis.navigator?.hardwareConcurrency ?? 1,
    mostWorkers,
  ),
): number {
  if (!Number.isInteger(threads) || threads < 0 || threads > mostWorkers) {
    throw new UsageError(
      `Cannot use threads ${threads}: needs a whole number from 0 to ${mostWorkers}`,
    );
  }
  return typeof Worker === "undefined" ? 0 : threads;
}

/** What a worker posts where it cannot do what it was asked. */
export interface WorkerError {
  readonly kind: "error";
  readonly name: string;
  readonly message: string;
}

/** What workers are started with. */
export interface Workers<To, From> {
  /** All of what they run. */
  readonly text: string;
  /** For people: `culm quantiser` */
  readonly name: string;
  /** What each is asked first. */
  readonly start: To;
  /** The error that is thrown for one of a worker's. */
  readonly errorOf: (error: Pick<WorkerError, "name" | "message">) => CulmError;
  /** Given messages of kind `step`, which answer nothing. */
  readonly onStep?: (message: From) => void;
}

/** Starts `count` workers: none where one cannot be had. */
export async function startWorkers<To, From extends { readonly kind: string }>(
  count: number,
  options: Workers<To, From>,
): Promise<readonly RpcWorker<To, From>[]> {
  const blob = new Blob([options.text], { type: "text/javascript" });
  const url = URL.createObjectURL(blob);
  const workers: RpcWorker<To, From>[] = [];
  try {
    for (let i = 0; i < count; i++) workers.push(new RpcWorker(url, options));
    await Promise.all(workers.map((worker) => worker.ask(options.start)));
    return workers;
  } catch (error) {
    for (const worker of workers) worker.terminate(error as CulmError);
    return [];
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** A worker, and the answers that are still to come from it. */
export class RpcWorker<To, From extends { readonly kind: string }> {
  readonly #worker: Worker;
  readonly #answers: PromiseWithResolvers<From>[] = [];
  #failure?: unknown;

  /** Starts it. */
  constructor(url: string, { name, errorOf, onStep }: Workers<To, From>) {
    this.#worker = new Worker(url, { type: "module", name });
    this.#worker.onmessage = ({ data }: MessageEvent<From | WorkerError>) => {
      if (data.kind === "step") return onStep?.(data as From);
      const answer = this.#answers.shift();
      if (data.kind === "error") answer?.reject(errorOf(data as WorkerError));
      else answer?.resolve(data as From);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(errorOf({ name: "Error", message: event.message }));
    };
  }

  /**
   * Posts a message, and waits for its answer.
   *
   * @throws what `errorOf` makes of the worker's error
   */
  ask(message: To, transfer: Transferable[] = []): Promise<From> {
    if (this.#failure) return Promise.reject(this.#failure);
    const answer = Promise.withResolvers<From>();
    this.#answers.push(answer);
    this.#worker.postMessage(message, transfer);
    return answer.promise;
  }

  /** Stops the worker; what was asked and is not answered fails with `reason`. */
  terminate(reason: unknown): void {
    this.#worker.terminate();
    this.#fail(reason);
  }

  #fail(failure: unknown): void {
    this.#failure ??= failure;
    for (const { reject } of this.#answers.splice(0)) reject(this.#failure);
  }
}
