/**
 * How many CPU threads compute, where nobody has fixed it: as many as keep their
 * cores. Threads wait for one another some times a layer; one that shares its
 * core with other work keeps all of them waiting, and fewer threads are then
 * faster, however fast each core is by itself.
 *
 * Changes are paid for by what they save: threads are given up when as much time
 * was lost as starting a team takes, so that no more than twice the least
 * possible time is lost (ski rental: Karlin et al., "Competitive snoopy caching",
 * Algorithmica 3, 1988). All threads are tried again after a pause, which
 * doubles as long as they wait for one another again.
 */

/** A step that was run. */
export interface StepTime {
  readonly ms: number;
  readonly tokens: number;
  /** ms of those that threads slept while they waited for one another */
  readonly lostMs: number;
}

/** ms of steps, and steps, that are judged together. */
const windowMs = 100, windowSteps = 4;
/** The share of the time that is lost by threads that share their cores; less is lost by uneven shares. */
const mostLost = 0.2;
/** ms until all threads are tried again. */
const firstPauseMs = 4_000, mostPauseMs = 60_000;
/** A pause is at least so many times as long as a change takes. */
const pauseOfChange = 20;

/** Counts what threads lose, step by step. */
export class ThreadChoice {
  /** How many threads there are to be */
  count: number;
  #steps = 0;
  #ms = 0;
  #lostMs = 0;
  /** Of a window's steps of one token */
  #single = { steps: 0, ms: 0 };
  /** ms that were lost, since threads wait for one another */
  #lostSoFar = 0;
  /** What there was before threads were given up, until that has proven right */
  #former?: { readonly count: number; readonly msPerToken: number };
  /** When threads may be given up again that it was wrong to give up */
  #keptUntil = 0;
  /** Threads that are given up next */
  #fewer = 1;
  #pauseMs = firstPauseMs;
  #changedAt: number;

  /** Begins with `most` threads; `changeMs` is how long it takes to start a team. */
  constructor(
    readonly most: number,
    public changeMs: number,
    now: number = performance.now(),
  ) {
    this.count = most;
    this.#changedAt = now;
  }

  /** Takes the time of a step; says whether there is to be another number of threads from now on. */
  changesAfter(
    { ms, tokens, lostMs }: StepTime,
    now: number = performance.now(),
  ): boolean {
    this.#steps++;
    this.#ms += ms;
    this.#lostMs += lostMs;
    if (tokens === 1) {
      this.#single.steps++;
      this.#single.ms += ms;
    }
    if (this.#ms < windowMs || this.#steps < windowSteps) return false;
    const count = this.#next(now);
    this.#steps = this.#ms = this.#lostMs = 0;
    this.#single = { steps: 0, ms: 0 };
    if (count === this.count) return false;
    this.count = count;
    this.#changedAt = now;
    this.#lostSoFar = 0;
    return true;
  }

  /** How many threads there should be after the steps of a window. */
  #next(now: number): number {
    const waits = this.count > 1 && this.#lostMs > mostLost * this.#ms;
    this.#lostSoFar = waits ? this.#lostSoFar + this.#lostMs : 0;
    const { steps, ms } = this.#single;
    if (this.#former && !waits && steps >= windowSteps) {
      const { count, msPerToken } = this.#former;
      this.#former = undefined;
      if (ms / steps > msPerToken) { // they had waited for slower cores
        this.#keptUntil = now + this.#pause();
        return count;
      }
    }
    if (waits && this.#lostSoFar >= this.changeMs && now >= this.#keptUntil) {
      return this.#giveUp();
    }
    if (now - this.#changedAt < this.#leastPauseMs) return this.count;
    if (this.count < this.most) this.#pause();
    else if (!waits) this.#pauseMs = firstPauseMs;
    this.#fewer = 1;
    this.#former = undefined;
    return this.most;
  }

  /** Fewer threads: by one, then by twice as many as before. */
  #giveUp(): number {
    const { steps, ms } = this.#single;
    if (steps >= windowSteps) {
      this.#former ??= { count: this.count, msPerToken: ms / steps };
    }
    const count = Math.max(1, this.count - this.#fewer);
    this.#fewer *= 2;
    return count;
  }

  get #leastPauseMs(): number {
    return Math.max(this.#pauseMs, pauseOfChange * this.changeMs);
  }

  /** How long this pause is; the next one is twice as long. */
  #pause(): number {
    const pauseMs = this.#leastPauseMs;
    this.#pauseMs = Math.min(2 * this.#pauseMs, mostPauseMs);
    return pauseMs;
  }
}
