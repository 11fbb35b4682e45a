/**
 * Keeps the process from ending while a worker still gives its GPU driver up.
 *
 * Deno does not wait for the threads of terminated workers: the process'
 * exit handlers take down what such a thread is using, and of runs on Mesa's
 * llvmpipe that ended right after it one in twelve crashed.
 *
 * @module
 */

/** From a worker's end until its thread is surely done, in ms: eight processes on two cores took less than 250. */
const teardown = 500;
const word = new Int32Array(new SharedArrayBuffer(4));
let doneAt: number | undefined;

/** To be called as a worker with a GPU is terminated. */
export function guardExit(): void {
  if (doneAt === undefined) addEventListener("unload", waitUntilDone);
  doneAt = performance.now() + teardown;
}

/** Blocks, for nothing else can hold up `Deno.exit`. */
function waitUntilDone(): void {
  const left = doneAt! - performance.now();
  if (left > 0) Atomics.wait(word, 0, 0, left);
}
