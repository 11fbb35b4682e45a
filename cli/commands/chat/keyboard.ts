/**
 * Keys of a terminal, as they are pressed.
 *
 * @module
 */
import { onExit } from "../../../src/platform/exit.ts";
import type { Interrupt } from "../../interrupt.ts";
import {
  cursorQuery,
  type CursorReport,
  type Key,
  KeyReader,
  pasteMode,
} from "./keys.ts";

/** What changes the screen beside keys: another size, or coming back from a shell. */
export type ScreenEvent = "resized" | "continued";

const signals: readonly (readonly [Deno.Signal, ScreenEvent])[] =
  Deno.build.os === "windows"
    ? []
    : [["SIGWINCH", "resized"], ["SIGCONT", "continued"]];

/** For how long a terminal's answer is waited for, in ms. */
const answerTime = 200;

const encoder = new TextEncoder();

/**
 * Reads the keyboard until it is disposed of. Nothing that is typed is echoed or
 * lost: keys wait until they are asked for. Ctrl-C is the interrupt's, and a key
 * only where one is waited for.
 */
export class Keyboard implements Disposable {
  readonly #interrupt: Interrupt;
  readonly #waiting: (Key | ScreenEvent)[] = [];
  readonly #listeners: (readonly [Deno.Signal, () => void])[];
  readonly #leave: () => void;
  #reader = new KeyReader();
  #ended = false;
  /** Called when something has come. */
  #wake = () => {};
  /** Called with the cursor's column. */
  #tell: (column: number) => void = () => {};

  /** Takes the terminal. */
  constructor(interrupt: Interrupt) {
    this.#interrupt = interrupt;
    this.#listeners = signals.map(([signal, event]) => [signal, () => {
      if (event === "continued") takeTerminal();
      this.#push([event]);
    }]);
    for (const each of this.#listeners) Deno.addSignalListener(...each);
    this.#leave = onExit(giveTerminalBack);
    takeTerminal();
    this.#read();
  }

  /** The next key; none where the terminal has gone away. */
  async next(): Promise<Key | ScreenEvent | undefined> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) return next;
      if (this.#ended) return undefined;
      const { signal } = this.#interrupt;
      if (signal.aborted) {
        this.#interrupt.reset();
        this.#reader = new KeyReader();
        return "interrupt";
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** The column of the terminal's cursor, from 1; none where the terminal does not say. */
  async cursorColumn(): Promise<number | undefined> {
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    const timer = setTimeout(() => resolve(undefined), answerTime);
    this.#tell = resolve;
    Deno.stdout.writeSync(encoder.encode(cursorQuery));
    const column = await promise;
    clearTimeout(timer);
    return column;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(1 << 14);
    for (;;) {
      const length = await Deno.stdin.read(buffer).catch(() => null);
      if (length === null) break;
      const chunk = buffer.subarray(0, length);
      this.#push(this.#reader.push(decoder.decode(chunk, { stream: true })));
    }
    this.#ended = true;
    this.#wake();
  }

  #push(keys: readonly (Key | CursorReport | ScreenEvent)[]): void {
    for (const key of keys) {
      // Where the system makes no signal of it.
      if (key === "interrupt") this.#interrupt.press();
      else if (typeof key === "object" && "cursorColumn" in key) {
        this.#tell(key.cursorColumn);
      } else this.#waiting.push(key);
    }
    this.#wake();
  }

  /** Gives the terminal back. */
  [Symbol.dispose](): void {
    for (const each of this.#listeners) Deno.removeSignalListener(...each);
    this.#leave();
    giveTerminalBack();
  }
}

function takeTerminal(): void {
  // So that Ctrl-Z and its like go on working, where there are signals.
  Deno.stdin.setRaw(true, { cbreak: Deno.build.os !== "windows" });
  Deno.stdout.writeSync(encoder.encode(pasteMode.on));
}

function giveTerminalBack(): void {
  try {
    Deno.stdin.setRaw(false);
    Deno.stdout.writeSync(encoder.encode(pasteMode.off));
  } catch {
    // It has gone away.
  }
}
