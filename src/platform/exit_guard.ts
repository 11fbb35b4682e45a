/**
 * Keeps the process from ending while a worker has a GPU, or still gives its
 * driver up.
 *
 * Deno does not wait for the threads of terminated workers: the process'
 * exit handlers destroy what such a thread is using, and of runs on Mesa's
 * llvmpipe that ended right after it one in twelve crashed.
 */
import { onExit } from "./exit.ts";

/** From a worker's end until its thread is surely done, in ms: eight processes on two cores took less than 250. */
const teardown = 500;
let doneAt = 0;
let isGuarded = false;
/** What terminates the workers that have a GPU */
const running = new Set<() => void>();

/**
 * To be called as a worker with a GPU starts, with what terminates it. What it
 * gives is to be called as the worker is terminated.
 */
export function guardExit(terminate: () => void): () => void {
  if (!isGuarded) onExit(endAll);
  isGuarded = true;
  running.add(terminate);
  return () => {
    running.delete(terminate);
    doneAt = performance.now() + teardown;
  };
}

function endAll(): void {
  for (const terminate of running) terminate();
  // Blocks, for nothing else can hold up `Deno.exit`.
  const left = Math.max(0, doneAt - performance.now());
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, left);
}
