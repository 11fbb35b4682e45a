/**
 * The words by which threads start steps, wait for one another, and learn that
 * one has failed.
 *
 * @module
 */
import { PlaceError } from "../../errors.ts";
import type { Side } from "../../plan/schedule.ts";
import { now, type Recorder } from "../trace.ts";

/** A cache line each, so that they do not slow one another. */
const word = {
  step: 0,
  done: 16,
  /** Threads of the CPU places that wait at their barrier, and how often all have passed it */
  cpuArrived: 32,
  cpuPassed: 48,
  /** The same of all threads */
  allArrived: 64,
  allPassed: 80,
  failed: 96,
  /** µs that threads of CPU places have slept at their barriers */
  slept: 104,
  /** Threads that sleep at a barrier, or are about to: to wake none takes as long as to pass one */
  sleeping: 108,
  task: 112,
};

/** What the places do in a step, by the number that stands in the word `task`. */
const tasks = [
  "forward",
  "trace",
  "measure",
  "reserve",
  "readPage",
  "writePage",
] as const;

/** A pass of the batch through the model, one whose times are recorded, measuring how fast rows are read, making KV pages, or moving a layer's part of one. */
export type Task = typeof tasks[number];

/** Loads before a thread that waits goes to sleep: 0.005 ms at first, up to some 0.2 where waits are as short, since waking takes 0.05. */
const mostSpins = 200_000, leastSpins = 5_000;
/** ms of a wait that is lost; and of one for a thread whose core other work has, which no spinning shortens. */
const longMs = 0.2, hopelessMs = 1;
/** Loads before it looks at the clock, which takes as long as some of them. */
const untimedSpins = 2_000;

export class Control {
  static readonly byteLength = 4 * 128;
  /** Records how long this thread waits, in a step that is traced */
  recorder?: Recorder;
  readonly #words: Int32Array;
  /** Loads before this thread goes to sleep, by the word that it waits for */
  readonly #spins: number[] = [];

  /** For `cpuPlaces` threads of CPU places, and `places` threads in all. */
  constructor(
    buffer: SharedArrayBuffer,
    offset: number,
    readonly cpuPlaces: number,
    readonly places: number,
  ) {
    this.#words = new Int32Array(buffer, offset, Control.byteLength / 4);
  }

  startStep(task: Task): number {
    Atomics.store(this.#words, word.task, tasks.indexOf(task));
    const step = Atomics.add(this.#words, word.step, 1) + 1;
    Atomics.notify(this.#words, word.step);
    return step;
  }

  /** Resolves when the step is done, or when a place has failed. */
  async stepDone(step: number): Promise<void> {
    for (;;) {
      const seen = Atomics.load(this.#words, word.done);
      if (seen === step || this.failed) return;
      const wait = Atomics.waitAsync(this.#words, word.done, seen);
      if (wait.async) await wait.value;
    }
  }

  /** Blocks until a step after `last` starts; gives its number. */
  nextStep(last: number): number {
    this.#waitWhile(word.step, last);
    return Atomics.load(this.#words, word.step);
  }

  /** As {@linkcode nextStep}, for a thread that has events to attend to. */
  async nextStepLater(last: number): Promise<number> {
    while (Atomics.load(this.#words, word.step) === last && !this.failed) {
      const wait = Atomics.waitAsync(this.#words, word.step, last);
      if (wait.async) await wait.value;
    }
    this.#stopIfFailed();
    return Atomics.load(this.#words, word.step);
  }

  get task(): Task {
    return tasks[Atomics.load(this.#words, word.task)];
  }

  /** Says that a place is done with a step; when all are, the coordinator goes on. */
  finishStep(index: number, step: number): void {
    this.#barrier(word.allArrived, word.allPassed, this.places);
    if (index !== 0) return;
    Atomics.store(this.#words, word.done, step);
    Atomics.notify(this.#words, word.done);
  }

  /** Called by a place of side `own`: where that is among `sides`, returns when every place of them has called it. */
  barrier(own: Side, sides: readonly Side[]): void {
    if (!sides.includes(own)) return;
    if (sides.length === 2) {
      this.#barrier(word.allArrived, word.allPassed, this.places);
    } else if (own === "cpu") {
      this.#barrier(word.cpuArrived, word.cpuPassed, this.cpuPlaces);
    }
  }

  /** How many ms a thread of a CPU place has slept at barriers since this was called last: the mean of all but one, which the others wait for. */
  takeSleptMs(): number {
    const micros = Atomics.exchange(this.#words, word.slept, 0);
    return micros / 1000 / Math.max(1, this.cpuPlaces - 1);
  }

  /** Whether a place has failed or the team was stopped. */
  get failed(): boolean {
    return Atomics.load(this.#words, word.failed) !== 0;
  }

  /** Wakes every thread that waits, and lets none wait again. */
  fail(): void {
    Atomics.store(this.#words, word.failed, 1);
    for (
      const index of [word.step, word.cpuPassed, word.allPassed, word.done]
    ) {
      Atomics.add(this.#words, index, 1);
      Atomics.notify(this.#words, index);
    }
  }

  #barrier(arrived: number, passed: number, places: number): void {
    const before = Atomics.load(this.#words, passed);
    if (Atomics.add(this.#words, arrived, 1) === places - 1) {
      Atomics.store(this.#words, arrived, 0);
      Atomics.add(this.#words, passed, 1);
      if (Atomics.load(this.#words, word.sleeping) > 0) {
        Atomics.notify(this.#words, passed);
      }
    } else {
      const start = this.recorder && now();
      const slept = this.#waitWhile(passed, before);
      if (slept > 0) Atomics.add(this.#words, word.slept, 1000 * slept);
      if (start) this.recorder!.add("wait", start);
    }
  }

  /** Returns how many ms it took, where that was long; else 0. */
  #waitWhile(index: number, value: number): number {
    const spins = this.#spins[index] ?? leastSpins;
    let start = 0, slept = false;
    for (let i = 0; Atomics.load(this.#words, index) === value; i++) {
      if (i === untimedSpins) start = performance.now();
      if (i <= spins) continue;
      slept = true;
      Atomics.add(this.#words, word.sleeping, 1);
      Atomics.wait(this.#words, index, value);
      Atomics.sub(this.#words, word.sleeping, 1);
    }
    const ms = slept ? performance.now() - start : 0;
    if (ms > hopelessMs) this.#spins[index] = Math.max(leastSpins, spins / 2);
    else if (ms < longMs) this.#spins[index] = Math.min(mostSpins, spins * 2);
    this.#stopIfFailed();
    return ms > longMs ? ms : 0;
  }

  #stopIfFailed(): void {
    if (this.failed) throw new PlaceError("Stopped: another place failed");
  }
}
