/** Words kept: natural text repeats a few ten thousand words. */
const MAX_WORDS = 1 << 16;

/**
 * Longest word kept, in UTF-16 units. V8 keeps the whole text alive that a
 * slice of 13 units or more was cut from; shorter slices are copies.
 */
const MAX_LENGTH = 12;

/** Remembers the ids of short words; bounded, so that no text can fill the memory. */
export class WordCache {
  readonly #words = new Map<string, readonly number[]>();

  /** The ids of `word`, worked out by `encode` unless they are known. */
  get(
    word: string,
    encode: (word: string) => readonly number[],
  ): readonly number[] {
    if (word.length > MAX_LENGTH) return encode(word);
    let ids = this.#words.get(word);
    if (ids === undefined) {
      ids = encode(word);
      if (this.#words.size >= MAX_WORDS) this.#words.clear();
      this.#words.set(word, ids);
    }
    return ids;
  }
}
