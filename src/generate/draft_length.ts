/**
 * How long a draft pays: what a step of more tokens costs, against the tokens
 * that it is expected to bring.
 */
import type { StepCosts } from "../engine/step_costs.ts";

/** A draft has to be so much faster than none, as times and chances are estimates. */
export const leastGain = 1.05;
/** What is remembered of a guess after one more: some 30 guesses count. */
const decay = 0.97;

/** How often guesses of each class are right, from what is taken before there was any. */
export class Guesses {
  readonly #classes: { right: number; all: number }[];

  /** Of classes whose chances are taken to be `priors`. */
  constructor(priors: readonly number[]) {
    this.#classes = priors.map((chance) => ({ right: 2 * chance, all: 2 }));
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

/** The chances before anything was guessed, of matches of 1, 2 to 3, 4 to 7, ... tokens. */
const priors = [0.3, 0.4, 0.6, 0.8, 0.9, 0.9];

const classOf = (length: number) =>
  Math.min(priors.length - 1, Math.floor(Math.log2(length)));

/**
 * How often the token that follows a match is the text's next one. Every token
 * of a text tells, whether it was drafted or not, so that nothing has to be tried.
 */
export class Chances {
  readonly #guesses = new Guesses(priors);

  /** Takes note of a guess by a match of `length` tokens. */
  add(length: number, isRight: boolean): void {
    this.#guesses.add(classOf(length), isRight);
  }

  /** The chance that a guess by a match of `length` tokens is right. */
  of(length: number): number {
    return this.#guesses.of(classOf(length));
  }
}

/**
 * The number of tokens to draft behind a match of `length`, from `least` to
 * `most`, with which all sequences together get the most tokens a second; 0 where
 * that is none, or steps were not measured yet.
 */
export function draftLength(
  length: number,
  chances: Pick<Chances, "of">,
  costs: Pick<StepCosts, "ms" | "sequences">,
  least: number,
  most: number,
): number {
  const { sequences } = costs;
  const rate = (tokens: number, drafted: number) =>
    tokens / (costs.ms(sequences + drafted) ?? Infinity);
  let best = 0, bestRate = leastGain * rate(sequences, 0);
  if (bestRate === 0) return 0;
  let tokens = sequences, chance = 1;
  for (let drafted = 1; drafted <= most; drafted++) {
    // One that is right lengthens the match.
    chance *= chances.of(length + drafted - 1);
    tokens += chance;
    if (drafted < least || rate(tokens, drafted) <= bestRate) continue;
    bestRate = rate(tokens, drafted);
    best = drafted;
  }
  return best;
}
