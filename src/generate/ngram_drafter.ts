/** Drafts from the text itself: the tokens that followed the last ones before. */
import { Chances, draftLength } from "./draft_length.ts";
import type { DraftAsk, Drafter } from "./drafter.ts";
import { type Match, NgramIndex } from "./ngram_index.ts";

export class NgramDrafter implements Drafter {
  readonly #index: NgramIndex;
  readonly #chances = new Chances();
  #match?: Match;

  /** Goes on behind `ids`, of which n-grams of `size` tokens count. */
  constructor(size: number, ids: Iterable<number>) {
    this.#index = new NgramIndex(size, ids);
    this.#match = this.#index.match();
  }

  push(id: number): void {
    if (this.#match) {
      const [guess] = this.#index.following(this.#match, 1);
      this.#chances.add(this.#match.length, guess === id);
    }
    this.#index.push(id);
    this.#match = this.#index.match();
  }

  draft({ costs, least, most }: DraftAsk): Promise<readonly number[]> {
    const match = this.#match;
    const count = match
      ? draftLength(match.length, this.#chances, costs, least, most)
      : 0;
    return Promise.resolve(match ? this.#index.following(match, count) : []);
  }

  [Symbol.dispose](): void {}
}
