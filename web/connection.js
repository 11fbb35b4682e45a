/** Whether the server is there: asked now and then, and more often while it is not. */
import { Lost, request } from "./api.js";

/** Ms between two questions while the server is ready, and at most while it is not. */
const calm = 10_000, patience = 5_000;

/** Knows the server's state: `ready`, `loading` its model, or `lost`. Each change is an event `change`. */
export class Connection extends EventTarget {
  state = "unknown";
  #timer;
  #failures = 0;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.check();
    });
    globalThis.addEventListener("online", () => this.check());
    this.check();
  }

  /** Asks now. */
  async check() {
    clearTimeout(this.#timer);
    const state = await this.#ask();
    this.#failures = state === "ready" ? 0 : this.#failures + 1;
    const wait = state === "ready"
      ? calm
      : Math.min(patience, 250 * 2 ** this.#failures);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!document.hidden) this.check();
    }, wait);
    if (state === this.state) return;
    this.before = this.state;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  async #ask() {
    try {
      await request("health", { signal: AbortSignal.timeout(patience) });
      return "ready";
    } catch (error) {
      return error instanceof Lost || error.name === "TimeoutError"
        ? "lost"
        : "loading";
    }
  }
}
