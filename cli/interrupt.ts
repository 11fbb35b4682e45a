/**
 * Ctrl-C: the first one asks the work to stop, a second one stops the process,
 * as does being told to end, or a terminal that goes away.
 *
 * @module
 */
import { interruptedCode } from "./command.ts";

/** What ends the process at once, each with the exit code that a shell shows for it; Windows has Ctrl-Break. */
const endings: readonly (readonly [Deno.Signal, () => never])[] =
  Deno.build.os === "windows"
    ? [["SIGBREAK", () => Deno.exit(149)]]
    : [["SIGHUP", () => Deno.exit(129)], ["SIGTERM", () => Deno.exit(143)]];

/** Listens for Ctrl-C until it is disposed. */
export class Interrupt implements Disposable {
  #controller = new AbortController();
  /** What Ctrl-C does, also for a terminal that sends it as a character. */
  readonly press = () => {
    if (this.#controller.signal.aborted) Deno.exit(interruptedCode);
    this.#controller.abort();
  };

  /** Starts listening. */
  constructor() {
    Deno.addSignalListener("SIGINT", this.press);
    for (const each of endings) Deno.addSignalListener(...each);
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
    Deno.removeSignalListener("SIGINT", this.press);
    for (const each of endings) Deno.removeSignalListener(...each);
  }
}
