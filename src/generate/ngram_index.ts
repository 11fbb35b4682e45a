/**
 * Where a text's last tokens stood before: what followed them there is likely to
 * follow again (prompt lookup decoding, Saxena 2023; llama.cpp's ngram-simple).
 * Places are chained by a hash of their n-gram, as LZ77's are; of those in the
 * chain the one that has most in common with the end counts.
 */

/** Places that are compared for one token, and tokens of each. */
const mostPlaces = 32, mostCommon = 64;

/** A place of the text before whose end the same tokens stand. */
export interface Match {
  /** Position of the token that followed there */
  readonly at: number;
  /** How many tokens before it are those at the end: n or more */
  readonly length: number;
}

/** A text's n-grams, by what stands at their ends. */
export class NgramIndex {
  readonly #ids: number[] = [];
  /** Where an n-gram ended last, by its hash */
  readonly #last = new Map<number, number>();
  /** By position: where the n-gram that ends before it ended before that; -1 where it did not */
  readonly #before: number[] = [];

  /** An index of the n-grams of `size` tokens in `ids`. */
  constructor(readonly size: number, ids: Iterable<number> = []) {
    for (const id of ids) this.push(id);
  }

  /** Lengthens the text by a token. */
  push(id: number): void {
    const ids = this.#ids;
    ids.push(id);
    const end = ids.length;
    if (end < this.size) return;
    let hash = 0;
    for (let i = end - this.size; i < end; i++) {
      hash = Math.imul(hash ^ ids[i], 0x9e3779b1) ^ hash >>> 15;
    }
    this.#before[end] = this.#last.get(hash) ?? -1;
    this.#last.set(hash, end);
  }

  /** The place that has most in common with the end; the latest of those that have as much. */
  match(): Match | undefined {
    const end = this.#ids.length;
    let best: Match | undefined;
    let at = this.#before[end] ?? -1;
    for (let i = 0; i < mostPlaces && at >= 0; i++, at = this.#before[at]) {
      const length = this.#common(at, end);
      if (length >= this.size && length > (best?.length ?? 0)) {
        best = { at, length };
      }
    }
    return best;
  }

  /** The `count` tokens that follow a place; where that runs into the end, the repeat goes on. */
  following({ at }: Match, count: number): number[] {
    const ids = this.#ids, period = ids.length - at;
    return Array.from({ length: count }, (_, i) => ids[at + i % period]);
  }

  /** How many tokens before two positions are the same. */
  #common(a: number, b: number): number {
    const ids = this.#ids, most = Math.min(a, mostCommon);
    let length = 0;
    while (length < most && ids[a - 1 - length] === ids[b - 1 - length]) {
      length++;
    }
    return length;
  }
}
