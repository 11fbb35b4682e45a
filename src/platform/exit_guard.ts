/**
 * Keeps the process from ending while a worker still gives its GPU driver up.
 *
 * Deno does not wait for the threads of terminated workers: the process'
 * exit handlers destroy what such a thread is using, and of runs on Mesa's
 * llvmpipe that ended right after it one in twelve crashed.
 *
 * @module
 */

/** From a worker's end until its thread is surely done, in ms: eight processes on two cores took less than 250. */
const teardown = 500;
let doneAt = 0;

/** To be called as a worker with a GPU is terminated. */
export function guardExit(): void {
  addEventListener("unload", waitUntilDone); // Once, however often it is called.
  doneAt = performance.now() + teardown;
}

/** Blocks, for nothing else can hold up `Deno.exit`. */
function waitUntilDone(): void {
  const left = Math.max(0, doneAt - performance.now());
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, left);
}
