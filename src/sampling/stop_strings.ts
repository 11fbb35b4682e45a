import { UsageError } from "../errors.ts";

/** What may be shown after a piece of text came in. */
export interface StopResult {
  /** Text that no stop string can take back. */
  text: string;
  /** The stop string that was found; it and what follows it are not in any `text`. */
  stopped?: string;
}

/**
 * Passes text on up to the first stop string. The first is the one that ends
 * first, and the longest of those that end together, so that the result does
 * not depend on how the text was cut into pieces.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const stops = new StopStrings(["###"]);
 * assert.deepEqual(stops.push("Hello #"), { text: "Hello " });
 * assert.deepEqual(stops.push("## more"), { text: "", stopped: "###" });
 * ```
 */
export class StopStrings {
  #stops: readonly string[];
  /** Text not passed on yet: the beginning of a stop string, perhaps. */
  #held = "";
  #stopped?: string;

  /**
   * Starts before the first piece of text.
   * @throws {UsageError} when a stop string is empty.
   */
  constructor(stops: readonly string[]) {
    if (stops.some((stop) => stop === "")) {
      throw new UsageError("Cannot stop at an empty string");
    }
    this.#stops = [...stops];
  }

  /** Takes the next piece, and gives what may be shown. */
  push(text: string): StopResult {
    if (this.#stopped !== undefined) {
      return { text: "", stopped: this.#stopped };
    }
    const all = this.#held + text;
    const found = this.#find(all);
    if (found) {
      this.#held = "";
      this.#stopped = found.stop;
      return { text: all.slice(0, found.start), stopped: found.stop };
    }
    const shown = all.length - this.#unsure(all);
    this.#held = all.slice(shown);
    return { text: all.slice(0, shown) };
  }

  /** The text still held back, when nothing follows. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  #find(text: string): { start: number; stop: string } | undefined {
    let found: { start: number; stop: string } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      const foundEnd = found ? found.start + found.stop.length : Infinity;
      if (end < foundEnd || (end === foundEnd && start < found!.start)) {
        found = { start, stop };
      }
    }
    return found;
  }

  /** The length of the longest end of `text` that a stop string begins with. */
  #unsure(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
        if (text.endsWith(stop.slice(0, n))) longest = n;
      }
    }
    return longest;
  }
}
