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

/** What asks a server to stop, and not only a person: what a service manager sends too. */
export const stopSignals: readonly Deno.Signal[] = [
  "SIGINT",
  Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM",
];

/** Listens for Ctrl-C until it is disposed. */
export class Interrupt implements Disposable {
  #controller = new AbortController();
  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[];
  /** What Ctrl-C does, also for a terminal that sends it as a character. */
  readonly press = () => {
    if (this.#controller.signal.aborted) Deno.exit(interruptedCode);
    this.#controller.abort();
  };

  /** Starts listening. Each of `signals` asks the work to stop, as Ctrl-C does; `others` do what they say. */
  constructor(
    signals: readonly Deno.Signal[] = ["SIGINT"],
    others: readonly (readonly [Deno.Signal, () => void])[] = [],
  ) {
    const own = [
      ...signals.map((signal) => [signal, this.press] as const),
      ...others,
    ];
    const taken = new Set(own.map(([signal]) => signal));
    this.#listeners = [
      ...own,
      ...endings.filter(([signal]) => !taken.has(signal)),
    ];
    for (const each of this.#listeners) Deno.addSignalListener(...each);
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
    for (const each of this.#listeners) Deno.removeSignalListener(...each);
  }
}
