/**
 * Ranges of a file that one place will read, for threads that read them before:
 * the place reads by itself, whatever becomes of them, and finds in the
 * system's memory what was read by then. One thread adds, several take.
 */
import type { ReadAhead } from "../cpu/options.ts";

/** Ranges that wait, at most: more are not read ahead. */
const mostRanges = 1024;

/** Where things lie, in 32-bit words: each count in a cache line of its own. */
const word = { added: 0, taken: 16, closed: 32 };
const headBytes = 4 * 48;

/** A range of a file. */
export interface FileRange {
  readonly offset: number;
  readonly length: number;
}

/** The queue of one place, over shared memory. */
export class ReadQueue implements ReadAhead {
  static readonly byteLength = headBytes + mostRanges * 16;
  readonly #words: Int32Array;
  /** `[mostRanges][offset, length]` */
  readonly #ranges: Float64Array;

  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.#words = new Int32Array(buffer, offset, headBytes / 4);
    this.#ranges = new Float64Array(
      buffer,
      offset + headBytes,
      2 * mostRanges,
    );
  }

  want(offset: number, length: number): void {
    const added = Atomics.load(this.#words, word.added);
    const waiting = added - Atomics.load(this.#words, word.taken) | 0;
    if (waiting >= mostRanges) return;
    this.#ranges.set([offset, length], slotOf(added));
    Atomics.store(this.#words, word.added, added + 1 | 0);
    Atomics.notify(this.#words, word.added, 1);
  }

  forget(): void {
    const added = Atomics.load(this.#words, word.added);
    Atomics.store(this.#words, word.taken, added);
  }

  /** Waits for the next range; undefined where the queue was closed. */
  take(): FileRange | undefined {
    const words = this.#words;
    while (Atomics.load(words, word.closed) === 0) {
      const taken = Atomics.load(words, word.taken);
      if (taken === Atomics.load(words, word.added)) {
        Atomics.wait(words, word.added, taken);
        continue;
      }
      // Another thread may take it meanwhile, and a range take its place.
      const at = slotOf(taken);
      const offset = this.#ranges[at], length = this.#ranges[at + 1];
      const found = Atomics
        .compareExchange(words, word.taken, taken, taken + 1 | 0);
      if (found === taken) return { offset, length };
    }
  }

  /** Has nobody take any more. */
  close(): void {
    Atomics.store(this.#words, word.closed, 1);
    // Those who are about to wait see another number.
    Atomics.add(this.#words, word.added, 1);
    Atomics.notify(this.#words, word.added);
  }
}

/** Where a range of a number lies; numbers go on behind 2³¹ - 1 from -2³¹. */
function slotOf(number: number): number {
  return 2 * ((number >>> 0) % mostRanges);
}
