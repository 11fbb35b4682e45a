/** When the head's rows are screened, and when all are read at once: as what both took lately says. */

/** Whether rows of the head are screened: where that is faster, always, or never. */
export type ScreenMode = "auto" | "on" | "off";

/** All modes. */
export const screenModes: readonly ScreenMode[] = ["auto", "on", "off"];

/** States that are looked at before rows are copied, which costs what hundreds of tokens spare: short texts are not worth it. */
const leastSeen: Readonly<Record<ScreenMode, number>> = {
  auto: 96,
  on: 32,
  off: Infinity,
};
/** Times that are kept of each; their median counts. */
const timesKept = 7;
/** What is screened has to be so much faster. */
const leastGain = 1.02;
/** Steps until that is tried again which was slower; twice as many each time that it still is. */
const firstPause = 64, longestPause = 4096;
/** One step in so many reads all rows, so that what that takes is known. */
const wholeAmong = 256;

/** What it took to screen for so many largest logits. */
interface Screened {
  readonly ms: number[];
  /** Steps left without it, and the length of the next pause */
  wait: number;
  pause: number;
}

/** Chooses by measured times. */
export class ScreenChoice {
  readonly #whole: number[] = [];
  /** By the number of logits that are picked */
  readonly #screened = new Map<number, Screened>();
  #steps = 0;

  /** For rows that are screened as `mode` says. */
  constructor(readonly mode: ScreenMode) {}

  /** Whether more states are to be looked at. */
  learns(seen: number): boolean {
    return seen < leastSeen[this.mode];
  }

  /** Whether rows are screened in the step that comes, which picks `k` logits. */
  screens(k: number): boolean {
    const screened = this.#of(k);
    if (this.mode === "on") return true;
    if (screened.wait === 0) return ++this.#steps % wholeAmong > 0;
    screened.wait--;
    return false;
  }

  /** Takes what a step took that read all rows. */
  addWhole(ms: number): void {
    add(this.#whole, ms);
  }

  /** Takes what a step took that screened them. */
  addScreened(k: number, ms: number): void {
    const screened = this.#of(k);
    add(screened.ms, ms);
    if (screened.ms.length < timesKept) return;
    if (median(this.#whole) > leastGain * median(screened.ms)) return;
    screened.ms.length = 0;
    screened.wait = screened.pause;
    screened.pause = Math.min(longestPause, 2 * screened.pause);
  }

  #of(k: number): Screened {
    const known = this.#screened.get(k) ??
      { ms: [], wait: 0, pause: firstPause };
    this.#screened.set(k, known);
    return known;
  }
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1];
}

function add(times: number[], ms: number): void {
  if (times.push(ms) > timesKept) times.shift();
}
