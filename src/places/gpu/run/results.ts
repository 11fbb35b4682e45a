/**
 * The results of a step on their way back: rows of logits, or what was picked
 * of them, in portions of as many as the head computes at once.
 *
 * @module
 */
import type { Batch } from "../../batch.ts";
import type { Commands } from "../device/commands.ts";
import type { Head } from "./head.ts";
import type { Region } from "./read_back.ts";
import type { Step } from "./step.ts";

/** Reads a region, at once or later. */
export type Read = <T>(
  region: Region,
  take: (bytes: ArrayBuffer) => T,
) => T | Promise<T>;

/** Reads what a head computes. */
export class Results {
  /** `[wanted, width]`; longer where a step wanted more */
  #rows = new Float32Array(0);

  constructor(
    readonly head: Head,
    readonly step: Step,
    readonly commands: Commands,
    readonly read: Read,
  ) {}

  /** A row for each token that wants one; valid until the next time. */
  of(batch: Batch): Float32Array[] | Promise<Float32Array[]> {
    const count = batch.logitCount;
    const width = this.head.width(batch);
    if (this.#rows.length < count * width) {
      this.#rows = new Float32Array(count * width);
    }
    return after(this.#readFrom(0, batch), () =>
      Array.from(
        { length: count },
        (_, row) => this.#rows.subarray(row * width, (row + 1) * width),
      ));
  }

  /** Reads the rows from number `first` on, computing those that were not yet. */
  #readFrom(first: number, batch: Batch): void | Promise<void> {
    const { head } = this;
    const count = head.portion(batch, first);
    const width = head.width(batch);
    if (first > 0) {
      this.step.want(this.commands, first, count);
      head.run(batch, count);
    }
    const read = this.read(head.region(batch, count), (bytes) => {
      const rows = new Float32Array(bytes, 0, count * width);
      this.#rows.set(rows, first * width);
    });
    const next = first + count;
    return after(read, () => {
      if (next < batch.logitCount) return this.#readFrom(next, batch);
    });
  }
}

/** Goes on with a value, at once where it is there. */
function after<T, R>(
  value: T | Promise<T>,
  next: (value: T) => R | Promise<R>,
): R | Promise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
