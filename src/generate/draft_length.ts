/**
 * How long a draft pays: what a step of more tokens costs, against the tokens
 * that it is expected to bring.
 */
import { usualSlowdown } from "../engine/step_costs.ts";
import type { DraftCosts } from "./drafter.ts";
import type { Support } from "./ngram_pool.ts";

/** A draft has to be so much faster than none, as times and chances are estimates. */
export const leastGain = 1.05;
/** So much faster beside other texts: what a few of many tokens bring is less than what steps' times vary by. */
const leastSharedGain = 1.1;
/** What is remembered of a guess after one more: some 30 guesses count. */
const decay = 0.97;

/** How often guesses of each class are right, from what is taken before there was any. */
export class Guesses {
  readonly #classes: { right: number; all: number }[];

  /** Of classes whose chances are taken to be `priors`, as if `weight` guesses had said so. */
  constructor(priors: readonly number[], weight = 2) {
    this.#classes = priors.map((chance) => ({
      right: weight * chance,
      all: weight,
    }));
  }

  /** Takes note of a guess of a class. */
  add(index: number, isRight: boolean): void {
    const guesses = this.#classes[index];
    guesses.right = decay * guesses.right + Number(isRight);
    guesses.all = decay * guesses.all + 1;
  }

  /** The chance that a guess of a class is right. */
  of(index: number): number {
    const { right, all } = this.#classes[index];
    return right / all;
  }
}

/**
 * The chances before anything was guessed, of n-grams of 1, 2 to 3, 4 to 7, ...
 * tokens, as SmolLM2's copies, edits and chats have them.
 */
const priors: Readonly<Record<Support, readonly number[]>> = {
  changed: [0.15, 0.4, 0.5, 0.55, 0.6, 0.9],
  once: [0.3, 0.55, 0.75, 0.9, 0.95, 0.95],
  same: [0.55, 0.75, 0.93, 0.97, 0.97, 0.98],
};
/** Guesses that a prior counts as: a text has few of each class. */
const priorWeight = 4;

/**
 * How often the token that follows a match is the text's next one. Every token
 * of a text tells, whether it was drafted or not, so that nothing has to be tried.
 */
export class Chances {
  readonly #guesses = {
    changed: new Guesses(priors.changed, priorWeight),
    once: new Guesses(priors.once, priorWeight),
    same: new Guesses(priors.same, priorWeight),
  };

  /** Takes note of a guess by a match of `length` tokens. */
  add(length: number, isRight: boolean, support: Support = "once"): void {
    this.#guesses[support].add(classOf(length), isRight);
  }

  /** The chance that a guess by a match of `length` tokens is right. */
  of(length: number, support: Support = "once"): number {
    return this.#guesses[support].of(classOf(length));
  }
}

const classOf = (length: number) =>
  Math.min(priors.once.length - 1, Math.floor(Math.log2(length)));

/**
 * The number of tokens to draft behind a match of `length`, from `least` to
 * `most`, with which all sequences together get the most tokens a second, and
 * none but the text itself waits much longer for its next one; 0 where that is
 * none, steps were not measured yet, or prompts wait.
 */
export function draftLength(
  length: number,
  chances: Pick<Chances, "of">,
  costs: DraftCosts,
  least: number,
  most: number,
): number {
  const { sequences } = costs;
  const alone = costs.ms(sequences);
  // Prompts that wait fill steps better than guesses do.
  if (alone === undefined || costs.prompts > 0) return 0;
  const isAlone = sequences === 1;
  // Others may draft as well: each adds its part of what all of them may.
  const mostAdded = isAlone ? Infinity : (usualSlowdown - 1) / sequences;
  const gain = isAlone ? leastGain : leastSharedGain;
  let best = 0, bestRate = gain * sequences / alone;
  let tokens = sequences, chance = 1;
  for (let drafted = 1; drafted <= most; drafted++) {
    // One that is right lengthens the match.
    chance *= chances.of(length + drafted - 1);
    tokens += chance;
    const ms = costs.ms(sequences + drafted)!;
    if (ms > alone * (1 + mostAdded)) break;
    const rate = tokens / ms;
    if (drafted < least || rate <= bestRate) continue;
    bestRate = rate;
    best = drafted;
  }
  return best;
}
