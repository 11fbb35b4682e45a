/**
 * Ctrl-C: the first one asks the work to stop, a second one stops the process.
 *
 * @module
 */
import { interruptedCode } from "./command.ts";

/** Listens for Ctrl-C until it is disposed. */
export class Interrupt implements Disposable {
  #controller = new AbortController();
  readonly #listener = () => {
    if (this.#controller.signal.aborted) Deno.exit(interruptedCode);
    this.#controller.abort();
  };

  /** Starts listening. */
  constructor() {
    Deno.addSignalListener("SIGINT", this.#listener);
  }

  /** Aborted by the next Ctrl-C. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Forgets a Ctrl-C that was obeyed. */
  reset(): void {
    if (this.#controller.signal.aborted) {
      this.#controller = new AbortController();
    }
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGINT", this.#listener);
  }
}
