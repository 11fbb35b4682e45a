/** How long the caller's thread is kept before others get their turn, in ms. */
const sliceMs = 12;

/** A time slice of work in the caller's thread: `if (slice.isOver) await slice.yield()`. */
export class TimeSlice {
  #start = performance.now();

  /** Whether the slice is used up. */
  get isOver(): boolean {
    return performance.now() - this.#start > sliceMs;
  }

  /** Lets timers, events and other callers run, and starts the next slice. */
  async yield(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#start = performance.now();
  }
}
