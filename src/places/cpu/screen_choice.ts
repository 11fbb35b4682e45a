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

/** What it took to screen for so many states and largest logits. */
interface Screened {
  readonly ms: number[];
  /** Steps in which it came into question */
  steps: number;
  /** Steps left without it, and the length of the next pause */
  wait: number;
  pause: number;
}

/** Chooses by measured times. */
export class ScreenChoice {
  /** By the number of states: each costs arithmetic, and all together one reading */
  readonly #whole = new Map<number, number[]>();
  /** By the number of states, and how many logits are picked: within a factor of two */
  readonly #screened = new Map<string, Screened>();

  /** For rows that are screened as `mode` says. */
  constructor(readonly mode: ScreenMode) {}

  /** Whether more states are to be looked at. */
  learns(seen: number): boolean {
    return seen < leastSeen[this.mode];
  }

  /** Whether rows are screened in the step that comes, which picks `k` logits at most of each of so many states. */
  screens(states: number, k: number): boolean {
    const screened = this.#screenedOf(states, k);
    if (this.mode === "on") return true;
    if (this.#wholeOf(states).length < timesKept) return false;
    if (screened.wait === 0) return ++screened.steps % wholeAmong > 0;
    screened.wait--;
    return false;
  }

  /** Takes what a step took that read all rows. */
  addWhole(states: number, ms: number): void {
    add(this.#wholeOf(states), ms);
  }

  /** Takes what a step took that screened them. */
  addScreened(states: number, k: number, ms: number): void {
    const screened = this.#screenedOf(states, k);
    add(screened.ms, ms);
    if (screened.ms.length < timesKept) return;
    const whole = median(this.#wholeOf(states));
    if (whole > leastGain * median(screened.ms)) return;
    screened.ms.length = 0;
    screened.wait = screened.pause;
    screened.pause = Math.min(longestPause, 2 * screened.pause);
  }

  #wholeOf(states: number): number[] {
    const known = this.#whole.get(states) ?? [];
    this.#whole.set(states, known);
    return known;
  }

  #screenedOf(states: number, k: number): Screened {
    const key = `${states} ${Math.ceil(Math.log2(k))}`;
    const known = this.#screened.get(key) ??
      { ms: [], steps: 0, wait: 0, pause: firstPause };
    this.#screened.set(key, known);
    return known;
  }
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1];
}

function add(times: number[], ms: number): void {
  if (times.push(ms) > timesKept) times.shift();
}
