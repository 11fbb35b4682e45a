/** What steps take, by their number of tokens, as they were measured lately. */

/** How many times as long as without it a step may take for what others who share it do not wait for. */
export const usualSlowdown = 2;
/** Times that are kept of each number of tokens; their median counts. */
const timesKept = 5;
/** A short step that came so many steps ago is measured anew: what kept it may be gone. */
const mostAge = 1024;
/** Steps of prompts, which are longer, stay: they say what a token more costs. */
const longestShort = 16;

interface Times {
  /** Of the last ones */
  readonly ms: number[];
  /** Steps before the last of them */
  at: number;
}

/** Learns from each step what others would take. */
export class StepCosts {
  readonly #times = new Map<number, Times>();
  #steps = 0;
  /** Sequences that had tokens in the last step */
  sequences = 1;
  /** Tokens of prompts in it */
  prompts = 0;
  /** Sequences that had tokens in each step, all steps together */
  sequenceSteps = 0;

  /** How many there were. */
  get steps(): number {
    return this.#steps;
  }

  /** Takes the time of a step. */
  add(tokens: number, ms: number, sequences: number, prompts = 0): void {
    this.sequences = sequences;
    this.prompts = prompts;
    this.sequenceSteps += sequences;
    const times = this.#times.get(tokens) ?? { ms: [], at: 0 };
    times.at = this.#steps++;
    if (times.ms.push(ms) > timesKept) times.ms.shift();
    this.#times.set(tokens, times);
  }

  /**
   * The ms that a step of so many tokens takes: measured, on the line between
   * two that were, or above all that were by the square root of the tokens, as
   * they share what is read and not what is computed. Undefined where none so
   * short was measured.
   */
  ms(tokens: number): number | undefined {
    let below = 0, above = Infinity;
    for (const [known, { at }] of this.#times) {
      if (known <= longestShort && this.#steps - at > mostAge) continue;
      if (known <= tokens) below = Math.max(below, known);
      if (known >= tokens) above = Math.min(above, known);
    }
    if (below === 0) return undefined;
    const least = this.#median(below);
    if (above === below) return least;
    if (above === Infinity) return least * Math.sqrt(tokens / below);
    const share = (tokens - below) / (above - below);
    return least + share * (this.#median(above) - least);
  }

  #median(tokens: number): number {
    const ms = this.#times.get(tokens)!.ms.toSorted((a, b) => a - b);
    return ms[ms.length >> 1];
  }
}
