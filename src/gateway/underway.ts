/** The requests that are under way. */
import { RequestError } from "../server/errors.ts";

/** Who is under way, and until when others may come. */
export class Underway {
  readonly #running = new Set<AbortController>();
  #isClosed = false;
  #emptied?: PromiseWithResolvers<void>;

  /** How many there are. */
  get count(): number {
    return this.#running.size;
  }

  /** Whether no more are let in. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * A request begins, and is under way until this is disposed of.
   *
   * @throws {RequestError} 503 where no more are let in
   */
  enter(giveUp: AbortController): Disposable {
    if (this.#isClosed) {
      throw new RequestError(503, "Cannot answer: the gateway is stopping");
    }
    this.#running.add(giveUp);
    return {
      [Symbol.dispose]: () => {
        this.#running.delete(giveUp);
        if (this.#running.size === 0) this.#emptied?.resolve();
      },
    };
  }

  /** Lets no more in, and waits until all have ended; after so many ms they are given up. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    if (this.#running.size === 0) return;
    this.#emptied ??= Promise.withResolvers();
    const reason = new RequestError(503, "The gateway was stopped");
    const timer = graceMs < Infinity
      ? setTimeout(() => {
        for (const giveUp of this.#running) giveUp.abort(reason);
      }, graceMs)
      : undefined;
    await this.#emptied.promise;
    clearTimeout(timer);
  }
}
