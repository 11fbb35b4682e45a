/** Whether a process waits for a worker before it ends. */

/**
 * Deno's own switch for that, which its Node workers have as `ref` and `unref`:
 * of Deno 2.9's web workers, the one method without a name that takes one
 * argument. Where there is none, workers keep a process alive until they are
 * terminated.
 */
const keepsAlive = Object.getOwnPropertySymbols(
  globalThis.Worker?.prototype ?? {},
).find((symbol) => methodOf(Worker.prototype, symbol)?.length === 1);

type Method = (isAwaited: boolean) => void;

function methodOf(of: Worker, symbol: symbol): Method | undefined {
  const value = (of as unknown as Record<symbol, unknown>)[symbol];
  return typeof value === "function" ? value as Method : undefined;
}

/** Has the process wait for a worker, or not; workers that were just started are waited for. */
export function keepAlive(worker: Worker, isAwaited: boolean): void {
  if (keepsAlive) methodOf(worker, keepsAlive)!.call(worker, isAwaited);
}
