/**
 * What followed n-grams, in a table of fixed size: the token that followed last
 * stands where a hash of the n-gram says (as in llama.cpp's ngram-mod; drafts from
 * the text itself are prompt lookup decoding, Saxena 2023). N-grams of five lengths
 * are kept, each twice as long as the one before; of those at a text's end the
 * longest that is known counts.
 */
import type { Engine } from "../engine/engine.ts";

/** n-grams of n, 2 n, 4 n, 8 n and 16 n tokens */
const lengths = 5;
/** Places of the table for each token. */
const placesPerToken = 8;
/** Places, one after the other, in which an n-gram may stand: the one that came first makes room. */
const bucket = 4;
/** Tokens of all texts of a model that are remembered, about: 8 MiB. */
const sharedTokens = 2 ** 17;
/** 2^32 over the golden ratio, which is odd and has its bits well mixed. */
const factor = 0x9e3779b1;

/** What followed an n-gram the last two times: two tokens, one that came once, or twice one. */
export type Support = "changed" | "once" | "same";
const supports: readonly Support[] = ["changed", "once", "same"];
/** Room for them beside a token, and for nothing */
const states = 4;

/** A token that followed an n-gram. */
export interface Guess {
  readonly id: number;
  /** The n-gram's tokens */
  readonly length: number;
  readonly support: Support;
}

/** Tokens by the n-grams that they followed last. */
export class NgramPool {
  /** By place: the hash of an n-gram, and `states` times the token behind it + 1 + its support; 0 where there is none */
  readonly #table: Int32Array;
  /** How far a hash is shifted to become a bucket */
  readonly #shift: number;
  /** Of the n-grams at an end, shortest first */
  readonly #hashes = new Int32Array(lengths);

  /** An empty pool that remembers some `tokens`. */
  constructor(tokens: number) {
    const places = placesPerToken * Math.max(1, tokens);
    const bits = Math.ceil(Math.log2(places / bucket));
    this.#table = new Int32Array(2 * bucket * 2 ** bits);
    this.#shift = 32 - bits;
  }

  /** What it takes, however much it learns. */
  get byteLength(): number {
    return this.#table.byteLength;
  }

  /** Learns that `id` follows `ids`, of which n-grams of `size` tokens and more count. */
  learn(ids: readonly number[], size: number, id: number): void {
    const table = this.#table;
    for (let i = this.#hash(ids, size) - 1; i >= 0; i--) {
      const hash = this.#hashes[i];
      let place = this.#find(hash), support = 1;
      if (place >= 0) {
        support = Math.floor(table[place + 1] / states) === id ? 2 : 0;
      } else {
        place = this.#bucketOf(hash);
        table.copyWithin(place + 2, place, place + 2 * bucket - 2);
      }
      table[place] = hash;
      table[place + 1] = states * id + 1 + support;
    }
  }

  /** What followed the longest n-gram at the end of `ids` that is known; undefined where none is. */
  guess(ids: readonly number[], size: number): Guess | undefined {
    for (let i = this.#hash(ids, size) - 1; i >= 0; i--) {
      const place = this.#find(this.#hashes[i]);
      if (place < 0) continue;
      const next = this.#table[place + 1];
      return {
        id: Math.floor(next / states),
        length: size * 2 ** i,
        support: supports[next % states - 1],
      };
    }
  }

  /** Forgets all. */
  clear(): void {
    this.#table.fill(0);
  }

  /** Hashes the n-grams at the end of `ids`, and gives how many there are. */
  #hash(ids: readonly number[], size: number): number {
    const { length } = ids;
    let hash = 0, count = 0;
    for (let i = 1; i <= length && count < lengths; i++) {
      hash = Math.imul(hash ^ ids[length - i], factor);
      hash ^= hash >>> 15;
      if (i === size << count) this.#hashes[count++] = hash ^ i;
    }
    return count;
  }

  /** Where an n-gram may stand: by the upper bits, which depend on all of its tokens. */
  #bucketOf(hash: number): number {
    return 2 * bucket * (Math.imul(hash, factor) >>> this.#shift);
  }

  /** Where an n-gram stands; -1 where it does not. */
  #find(hash: number): number {
    const table = this.#table, first = this.#bucketOf(hash);
    for (let place = first; place < first + 2 * bucket; place += 2) {
      if (table[place] === hash && table[place + 1] !== 0) return place;
    }
    return -1;
  }
}

const pools = new WeakMap<Engine, NgramPool>();

/** The pool of all texts of a model. */
export function sharedPool(engine: Engine): NgramPool {
  const pool = pools.get(engine) ?? new NgramPool(sharedTokens);
  pools.set(engine, pool);
  return pool;
}
