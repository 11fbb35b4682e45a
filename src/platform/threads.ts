/** How many threads there can be here. */
import { UsageError } from "../errors.ts";
import { hasWorkers } from "./worker.ts";

/** The most workers that are started. */
export const mostWorkers = 256;

/** How many cores the machine reports; 1 where it reports none. */
export function coreCount(): number {
  return globalThis.navigator?.hardwareConcurrency ?? 1;
}

/**
 * How many workers to start for `threads`: one for each core where that is left
 * out, none where there are no workers.
 *
 * @throws {UsageError} where `threads` is no whole number up to 256
 */
export function workerCount(
  threads: number = Math.min(coreCount(), mostWorkers),
): number {
  if (!Number.isInteger(threads) || threads < 0 || threads > mostWorkers) {
    throw new UsageError(
      `Cannot use threads ${threads}: needs a whole number from 0 to ${mostWorkers}`,
    );
  }
  return hasWorkers() ? threads : 0;
}

/** What is missing here to run threads over shared memory, if anything. */
export function missingForThreads(): string | undefined {
  if (!hasWorkers()) return "Workers are missing here";
  if (typeof SharedArrayBuffer === "undefined") {
    return "SharedArrayBuffer is missing here";
  }
  if (typeof Atomics.waitAsync === "undefined") {
    return "Atomics.waitAsync is missing here";
  }
}
