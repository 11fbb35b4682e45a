/** Work that goes on side by side, and work that needs the process to itself. */
export class Turns {
  readonly #together = new Set<Promise<unknown>>();
  #alone: Promise<unknown> = Promise.resolve();

  /** Does something beside other work of the kind. */
  async together<T>(work: () => Promise<T>): Promise<T> {
    let before;
    do {
      before = this.#alone;
      await before;
    } while (before !== this.#alone);
    const done = work();
    this.#together.add(done);
    try {
      return await done;
    } finally {
      this.#together.delete(done);
    }
  }

  /** Does something when all that has begun has ended; what comes later waits. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const before = [this.#alone, ...this.#together];
    const done = Promise.allSettled(before).then(work);
    this.#alone = done.catch(() => {});
    return await done;
  }
}
