/** Which upstreams have seen what prompts begin with: keys that were used last, so many at most. */

/** The most upstreams that are remembered of a key. */
const mostHolders = 4;

/** A bounded map from keys, such as hashes of a prompt's blocks, to who has seen them. */
export class PrefixIndex {
  /** Those that were used last stand last */
  readonly #holders = new Map<number, readonly number[]>();
  readonly #counts = new Map<number, number>();

  /** Keeps `limit` keys. */
  constructor(readonly limit: number) {}

  /** How many keys are known. */
  get size(): number {
    return this.#holders.size;
  }

  /** Whether anybody has seen a key. */
  has(key: number): boolean {
    return this.#holders.has(key);
  }

  /** How many of the keys somebody was the last to see. */
  countOf(holder: number): number {
    return this.#counts.get(holder) ?? 0;
  }

  /** Somebody sees all of these keys. The first of them are forgotten last. */
  add(keys: readonly number[], holder: number): void {
    for (const key of keys.toReversed()) {
      const known = this.#forget(key);
      const others = known.filter((each) => each !== holder);
      this.#holders.set(key, [holder, ...others].slice(0, mostHolders));
      this.#counts.set(holder, this.countOf(holder) + 1);
    }
    for (const key of this.#holders.keys()) {
      if (this.#holders.size <= this.limit) break;
      this.#forget(key);
    }
  }

  /** Forgets a key, and says who had seen it. */
  #forget(key: number): readonly number[] {
    const known = this.#holders.get(key) ?? [];
    this.#holders.delete(key);
    const [last] = known;
    if (last === undefined) return known;
    const count = this.countOf(last) - 1;
    if (count > 0) this.#counts.set(last, count);
    else this.#counts.delete(last);
    return known;
  }

  /** Those of `among` that have seen the last of the keys that any of them has. */
  longest(keys: readonly number[], among: ReadonlySet<number>): number[] {
    for (const key of keys.toReversed()) {
      const found = this.#holders.get(key)?.filter((each) => among.has(each));
      if (found && found.length > 0) return found;
    }
    return [];
  }
}
