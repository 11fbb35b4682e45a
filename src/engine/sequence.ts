/**
 * Sequences of tokens, as lists of KV pages. Pages are counted by reference,
 * so that a fork shares its past and a page is copied only when one of two
 * sequences writes into it.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { pagePositions, pagesFor } from "../places/batch.ts";

/** Which pages of the KV cache are taken, by how many sequences, and for which tokens. */
export class PagePool {
  readonly #references: number[] = [];
  readonly #free: number[] = [];
  /** The ids whose keys and values each page holds, so that they can be computed anew */
  readonly #tokens: Int32Array[] = [];
  /** The sequences that have not been dropped. */
  readonly sequences: Set<Sequence> = new Set();

  /** Pages that exist, taken or not. */
  get count(): number {
    return this.#references.length;
  }

  /** Pages that some sequence holds. */
  get taken(): number {
    return this.#references.length - this.#free.length;
  }

  /** Takes a page for one sequence. */
  take(): number {
    const page = this.#free.pop() ?? this.#references.length;
    this.#references[page] = 1;
    this.#tokens[page] ??= new Int32Array(pagePositions);
    return page;
  }

  /** One more sequence holds the page. */
  retain(page: number): void {
    this.#references[page]++;
  }

  /** One sequence less holds the page. */
  release(page: number): void {
    if (--this.#references[page] === 0) this.#free.push(page);
  }

  /** The ids of the tokens in a page, `[pagePositions]`. */
  tokensOf(page: number): Int32Array {
    return this.#tokens[page];
  }

  /** Whether more than one sequence holds the page. */
  isShared(page: number): boolean {
    return this.#references[page] > 1;
  }
}

/** The past of one text: how many positions it has, and in which pages. */
export class Sequence implements Disposable {
  readonly #pool: PagePool;
  #pages: number[] = [];
  #length = 0;
  #dropped = false;

  /**
   * An empty sequence; engines make them. `keep` is the share of each layer's
   * neurons that sparsity `top-k` keeps, where that is not the model's own.
   */
  constructor(pool: PagePool, readonly keep?: number) {
    this.#pool = pool;
    pool.sequences.add(this);
  }

  /** Positions that have been evaluated. */
  get length(): number {
    return this.#length;
  }

  /** The pages that hold them, in order. */
  get pages(): readonly number[] {
    return this.#pages;
  }

  /** A sequence with the same past, at no cost. */
  fork(): Sequence {
    this.#check();
    const copy = new Sequence(this.#pool, this.keep);
    copy.#pages = [...this.#pages];
    copy.#length = this.#length;
    for (const page of copy.#pages) this.#pool.retain(page);
    return copy;
  }

  /**
   * Forgets all but the first `length` positions.
   *
   * @throws {UsageError} where it has fewer
   */
  truncate(length: number): void {
    this.#check();
    if (!Number.isInteger(length) || length < 0 || length > this.#length) {
      throw new UsageError(
        `Cannot truncate a sequence of ${this.#length} positions to ${length}`,
      );
    }
    const kept = pagesFor(length);
    for (const page of this.#pages.splice(kept)) this.#pool.release(page);
    this.#length = length;
  }

  /** Gives its pages back. It can't be used afterwards. */
  drop(): void {
    if (this.#dropped) return;
    this.truncate(0);
    this.#pool.sequences.delete(this);
    this.#dropped = true;
  }

  /** As {@linkcode drop}. */
  [Symbol.dispose](): void {
    this.drop();
  }

  /** The id at a position. */
  tokenAt(position: number): number {
    const page = this.#pages[Math.floor(position / pagePositions)];
    return this.#pool.tokensOf(page)[position % pagePositions];
  }

  /**
   * Makes room for a token at the next position. A page that another sequence
   * holds too is replaced: `copy` is told which page to copy where.
   */
  advance(token: number, copy: (from: number, to: number) => void): void {
    this.#check();
    const index = Math.floor(this.#length / pagePositions);
    if (index === this.#pages.length) {
      this.#pages.push(this.#pool.take());
    } else if (this.#pool.isShared(this.#pages[index])) {
      const from = this.#pages[index];
      const to = this.#pages[index] = this.#pool.take();
      copy(from, to);
      this.#pool.tokensOf(to).set(this.#pool.tokensOf(from));
      this.#pool.release(from);
    }
    const tokens = this.#pool.tokensOf(this.#pages[index]);
    tokens[this.#length++ % pagePositions] = token;
  }

  #check(): void {
    if (this.#dropped) {
      throw new UsageError("Cannot use a sequence that was dropped");
    }
  }
}
