/**
 * The pages of the KV cache, by number: who holds them, and for which tokens.
 * Places hold as many as the pool has, so that a step never lacks one.
 *
 * @module
 */
import { pagePositions } from "../places/batch.ts";
import { PrefixCache } from "./prefix_cache.ts";

/** Counts by how many sequences each page is held. */
export class PagePool {
  readonly #references: number[] = [];
  /** Neither held by a sequence nor kept for later */
  readonly #free: number[] = [];
  /** The ids whose keys and values each page holds, `[pagePositions]` */
  readonly #tokens: Int32Array[] = [];
  /** Knows the pages by their tokens; whoever takes those that it finds retains them */
  readonly cache: PrefixCache = new PrefixCache();

  /** `keepsPast`: whether the pages of past sequences are kept, to be found again. */
  constructor(readonly keepsPast: boolean = false) {}

  /** Pages that places hold. */
  get count(): number {
    return this.#references.length;
  }

  /** Pages that some sequence holds. */
  get taken(): number {
    return this.count - this.available;
  }

  /** Pages that hold nothing. */
  get free(): number {
    return this.#free.length;
  }

  /** Pages that can be taken: free ones, and those of past sequences. */
  get available(): number {
    return this.#free.length + this.cache.unused;
  }

  /** Takes note that places hold `count` pages, where that is more than before. */
  grow(count: number): void {
    const { count: before } = this;
    for (let page = before; page < count; page++) {
      this.#references.push(0);
      this.#tokens.push(new Int32Array(pagePositions));
    }
    for (let page = count - 1; page >= before; page--) this.#free.push(page);
  }

  /** Takes a page for one sequence; undefined where none is available. */
  take(): number | undefined {
    const page = this.#free.pop() ?? this.cache.evict();
    if (page !== undefined) this.#references[page] = 1;
    return page;
  }

  /** One more sequence holds the page. */
  retain(page: number): void {
    if (this.#references[page]++ === 0) this.cache.use(page);
  }

  /** One sequence less holds the page. */
  release(page: number): void {
    if (--this.#references[page] > 0 || this.cache.leave(page)) return;
    this.#free.push(page);
  }

  /** The ids of the tokens in a page, `[pagePositions]`. */
  tokensOf(page: number): Int32Array {
    return this.#tokens[page];
  }

  /**
   * Whether a sequence that holds a page may write at position `at` of it and
   * after: nobody else holds it, and it is known by tokens before `at` alone.
   */
  isWritable(page: number, at: number): boolean {
    return this.#references[page] === 1 && at >= this.cache.tokensOf(page);
  }

  /**
   * Keeps a held page to be found by its first `count` tokens, behind the page
   * `before`. Gives the page to go on with: one that is known by the same
   * tokens takes its place.
   */
  remember(
    page: number,
    count: number,
    before: number | undefined,
    keep?: number,
  ): number {
    if (!this.keepsPast) return page;
    const ids = this.#tokens[page].slice(0, count);
    const known = this.cache.add(page, ids, before, keep);
    if (known !== page) {
      this.retain(known);
      this.release(page);
    }
    return known;
  }

  /** Forgets by which tokens pages are known: what they hold is lost. */
  forgetPast(): void {
    for (const page of this.cache.clear()) this.#free.push(page);
  }
}
