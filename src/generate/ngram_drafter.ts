/**
 * Drafts from a pool of n-grams, the text's own or one of all texts: each token is
 * guessed from those before it, drafted ones too.
 */
import { Chances, draftLength } from "./draft_length.ts";
import type { DraftAsk, Drafter } from "./drafter.ts";
import type { Guess, NgramPool } from "./ngram_pool.ts";

export class NgramDrafter implements Drafter {
  readonly #ids: number[] = [];
  readonly #chances = new Chances();
  #guess?: Guess;

  /** Goes on behind `ids`, of which n-grams of `size` tokens and more count. */
  constructor(
    readonly pool: NgramPool,
    readonly size: number,
    ids: Iterable<number>,
  ) {
    for (const id of ids) this.#learn(id);
    this.#guess = pool.guess(this.#ids, size);
  }

  push(id: number): void {
    const guess = this.#guess;
    if (guess) {
      this.#chances.add(guess.length, guess.id === id, guess.support);
    }
    this.#learn(id);
    this.#guess = this.pool.guess(this.#ids, this.size);
  }

  draft({ costs, least, most }: DraftAsk): Promise<readonly number[]> {
    const guesses = this.#guesses(most);
    const of = (drafted: number) => {
      const { length, support } = guesses[drafted - 1];
      return this.#chances.of(length, support);
    };
    const count = draftLength(1, { of }, costs, least, guesses.length);
    return Promise.resolve(guesses.slice(0, count).map(({ id }) => id));
  }

  [Symbol.dispose](): void {}

  #learn(id: number): void {
    this.pool.learn(this.#ids, this.size, id);
    this.#ids.push(id);
  }

  /** Up to `most` tokens, each behind those before it. */
  #guesses(most: number): Guess[] {
    const ids = this.#ids, { length } = ids;
    const guesses: Guess[] = [];
    let guess = this.#guess;
    while (guess && guesses.length < most) {
      guesses.push(guess);
      ids.push(guess.id);
      guess = this.pool.guess(ids, this.size);
    }
    ids.length = length;
    return guesses;
  }
}
