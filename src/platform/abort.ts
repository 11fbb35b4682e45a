import { Taken } from "./opened.ts";

/** Waits for `work`, at most until the signal is aborted: then throws its reason. */
export async function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (!signal) return await work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/**
 * Aborts `controller` when one of the signals is aborted, until it is disposed of.
 * A signal that lasts keeps a note of every one that `AbortSignal.any` makes of
 * it; of this it keeps none.
 */
export function followAborts(
  controller: AbortController,
  signals: Iterable<AbortSignal>,
): Disposable {
  const stack = new Taken();
  for (const signal of signals) {
    const follow = () => controller.abort(signal.reason);
    if (signal.aborted) follow();
    signal.addEventListener("abort", follow);
    stack.defer(() => signal.removeEventListener("abort", follow));
  }
  return stack;
}
