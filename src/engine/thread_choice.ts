/**
 * How many CPU threads compute, where nobody has fixed it: as many as keep their
 * cores. Threads wait for one another some times a layer; one that shares its
 * core with other work keeps all of them waiting, and fewer threads are then
 * faster, however fast each core is by itself.
 *
 * That threads wait shows in the time of the steps. Whether other work is to
 * blame, and how many cores it leaves, is then measured, as changing the number
 * of threads costs much more than to measure that.
 */
import { freeCores } from "../platform/free_cores.ts";

/** A step that was run. */
export interface StepTime {
  readonly ms: number;
  /** ms of those that threads slept while they waited for one another */
  readonly lostMs: number;
}

/** ms of steps, and steps, that are judged together. */
const windowMs = 100, windowSteps = 4;
/** The share of the time that is lost by threads that share their cores; less is lost by uneven shares. */
const mostLost = 0.2;
/** ms that threads lose, one window after another, until that is looked into: twice what looking takes. */
const leastLostMs = 90;
/** ms from one measurement to the next, twice as many each time that it was in vain. */
const firstPauseMs = 4_000, mostPauseMs = 60_000;
/** Cores that are free are taken after so many times as long as a change takes. */
const pauseOfChange = 20;

/** Judges the steps' times, and says how many threads there are to be. */
export class ThreadChoice {
  /** How many threads there are to be */
  count: number;
  #steps = 0;
  #ms = 0;
  #lostMs = 0;
  /** ms that were lost, since threads wait for one another */
  #lostSoFar = 0;
  #pauseMs = firstPauseMs;
  #measuredAt = -Infinity;
  /** When threads were taken back last */
  #raisedAt = -Infinity;
  /** Whether threads wait that have cores of their own: these are not alike */
  #isUneven = false;

  /** Begins with `most` threads; `changeMs` is how long it takes to start a team. */
  constructor(
    readonly most: number,
    public changeMs: number,
    /** Measures how many of so many cores other work leaves. */
    readonly measure: (count: number) => Promise<number> = freeCores,
  ) {
    this.count = most;
  }

  /** Takes the time of a step; says whether there is to be another number of threads from now on. */
  async changesAfter(
    { ms, lostMs }: StepTime,
    now: number = performance.now(),
  ): Promise<boolean> {
    this.#steps++;
    this.#ms += ms;
    this.#lostMs += lostMs;
    if (this.#ms < windowMs || this.#steps < windowSteps) return false;
    const isLate = this.count > 1 && this.#lostMs > mostLost * this.#ms;
    this.#lostSoFar = isLate ? this.#lostSoFar + this.#lostMs : 0;
    const waits = this.#lostSoFar >= leastLostMs;
    this.#steps = this.#ms = this.#lostMs = 0;
    this.#isUneven &&= isLate;
    if (!this.#isDue(waits, now)) return false;
    this.#measuredAt = now;
    const free = Math.min(await this.measure(this.most), this.most);
    this.#isUneven = waits && free >= this.count;
    if (this.#isUneven) this.#lengthenPause();
    if (this.#isUneven || free === this.count) return false;
    if (free > this.count) this.#raisedAt = now;
    else if (now - this.#raisedAt < 4 * this.#pauseMs) this.#lengthenPause();
    else this.#pauseMs = firstPauseMs;
    this.#lostSoFar = 0;
    this.count = free;
    return true;
  }

  /** Whether it is time to measure. */
  #isDue(waits: boolean, now: number): boolean {
    const pastMs = now - this.#measuredAt;
    if (waits) return !this.#isUneven || pastMs >= this.#pauseMs;
    const leastMs = Math.max(this.#pauseMs, pauseOfChange * this.changeMs);
    return this.count < this.most && pastMs >= leastMs;
  }

  #lengthenPause(): void {
    this.#pauseMs = Math.min(2 * this.#pauseMs, mostPauseMs);
  }
}
