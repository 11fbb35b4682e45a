/** How long the caller's thread is kept before others get their turn, in ms. */
const timeSlice = 12;

/** Time slices of work in the caller's thread: `if (turns.due) await turns.give()`. */
export class Turns {
  #start = performance.now();

  /** Whether the slice is used up. */
  get due(): boolean {
    return performance.now() - this.#start > timeSlice;
  }

  /** Lets timers, events and other callers run, and starts the next slice. */
  async give(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#start = performance.now();
  }
}
