/** How long the caller's thread is kept before others get their turn, in ms. */
const sliceMs = 12;

/**
 * Calls back in a later turn of the event loop. Deno, Node and Bun have
 * `setImmediate`, which takes some microseconds; a timer takes 1 to 4 ms.
 */
const inLaterTurn: (callback: () => void) => unknown =
  (globalThis as { setImmediate?: (callback: () => void) => unknown })
    .setImmediate ?? ((callback) => setTimeout(callback, 0));

/** A time slice of work in the caller's thread: `if (slice.isOver) await slice.yield()`. */
export class TimeSlice {
  #start = performance.now();

  /** Whether the slice is used up. */
  get isOver(): boolean {
    return performance.now() - this.#start > sliceMs;
  }

  /** Lets timers, events and other callers run, and starts the next slice. */
  async yield(): Promise<void> {
    await new Promise<void>((resolve) => inLaterTurn(resolve));
    this.#start = performance.now();
  }
}

/** What `map` makes of each of many; others have their turns meanwhile. */
export async function inSlices<T, Result>(
  all: Iterable<T>,
  map: (each: T) => Result,
): Promise<Result[]> {
  const slice = new TimeSlice();
  const results: Result[] = [];
  for (const each of all) {
    results.push(map(each));
    if (slice.isOver) await slice.yield();
  }
  return results;
}
