/**
 * Sequences of tokens, as lists of KV pages. Pages are counted by reference,
 * so that a fork shares its past and a page is copied only when one of two
 * sequences writes into it.
 */
import { UsageError } from "../errors.ts";
import { pagePositions, pagesFor } from "../places/batch.ts";
import type { PagePool } from "./page_pool.ts";
import { LayerCounts, type PlaceStats, sumCounts } from "../places/stats.ts";

/** What sequences belong to: one engine's. */
export interface SequenceOwner {
  readonly pool: PagePool;
  /** How many the model has */
  readonly layers: number;
  /** Those that have not been dropped */
  readonly sequences: Set<Sequence>;
  /** Tokens that sequences took over from others of the past */
  cachedTokens: number;
}

/** The past of one text: how many positions it has, and in which pages. */
export class Sequence implements Disposable {
  readonly #owner: SequenceOwner;
  /** Replaced, and never changed: a step may still read it */
  #pages: readonly number[] = [];
  #length = 0;
  /** Pages taken for tokens that wait */
  #ahead: number[] = [];
  #waiting = 0;
  #dropped = false;
  readonly #counts: LayerCounts;
  #evaluated = 0;

  /**
   * An empty sequence; engines make them. `modeValue` is what the sparsity mode
   * takes, where that is not the model's own.
   */
  constructor(
    owner: SequenceOwner,
    readonly modeValue?: number | readonly number[],
  ) {
    this.#owner = owner;
    this.#counts = new LayerCounts(owner.layers);
    owner.sequences.add(this);
  }

  /** Positions that have been evaluated. */
  get length(): number {
    return this.#length;
  }

  /** The pages that hold them, in order. */
  get pages(): readonly number[] {
    return this.#pages;
  }

  /** Whether it was given back. */
  get dropped(): boolean {
    return this.#dropped;
  }

  /**
   * Whether it is one of `owner`'s.
   *
   * @internal
   */
  isOf(owner: SequenceOwner): boolean {
    return this.#owner === owner;
  }

  /**
   * What was computed and read for its tokens since it was made: of each step that
   * it shared with others, the part that its tokens were of all.
   */
  stats(): PlaceStats {
    return sumCounts([this.#counts], this.#evaluated);
  }

  /**
   * Counts its part of a step.
   *
   * @internal
   */
  countStep({ before, after, tokens }: StepCounts, own: number): void {
    this.#counts.addShare(before, after, own / tokens);
    this.#evaluated += own;
  }

  /** A sequence with the same past, at no cost. */
  fork(): Sequence {
    this.#check();
    const copy = new Sequence(this.#owner, this.modeValue);
    copy.#hold(this.#pages, this.#length);
    return copy;
  }

  /**
   * Forgets all but the first `length` positions.
   *
   * @throws {UsageError} where it has fewer, or tokens wait to be appended
   */
  truncate(length: number): void {
    this.#check();
    if (!Number.isInteger(length) || length < 0 || length > this.#length) {
      throw new UsageError(
        `Cannot truncate a sequence of ${this.#length} positions to ${length}`,
      );
    }
    if (this.#waiting > 0) {
      throw new UsageError(
        `Cannot truncate a sequence to ${length} positions while ${this.#waiting} requests wait to append to it`,
      );
    }
    this.cut(length);
  }

  /** Gives its pages back. It can't be used afterwards; requests that wait are refused. */
  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#owner.sequences.delete(this);
    // The last page is known by the tokens in it, where it is nobody else's.
    const at = this.#length % pagePositions, last = this.#pages.length - 1;
    if (at > 0 && !this.#hasToCopy()) this.#remember(last, at);
    this.cut(0);
    this.#giveUpAhead();
  }

  /** As {@linkcode drop}. */
  [Symbol.dispose](): void {
    this.drop();
  }

  /** The id at a position. */
  tokenAt(position: number): number {
    const page = this.#pages[Math.floor(position / pagePositions)];
    return this.#owner.pool.tokensOf(page)[position % pagePositions];
  }

  /**
   * Forgets all but the first `length` positions, whoever waits.
   *
   * @internal
   */
  cut(length: number): void {
    this.#length = length;
    // The last first: a past that is evicted loses its end before its beginning.
    const kept = pagesFor(length);
    const cut = this.#pages.slice(kept).reverse();
    this.#pages = this.#pages.slice(0, kept);
    for (const page of cut) this.#owner.pool.release(page);
  }

  /**
   * Keeps what it has in common with `ids` and forgets the rest; begins as a
   * sequence of the past did where `fromPast` says so and that has more in common.
   * Its length says how many of `ids` it holds then.
   *
   * @throws {UsageError} where tokens wait to be appended
   */
  resume(ids: readonly number[], fromPast = true): void {
    const longest = Math.min(this.#length, ids.length);
    let common = 0;
    while (common < longest && ids[common] === this.tokenAt(common)) common++;
    this.truncate(common);
    if (!fromPast) return;
    const { pool } = this.#owner;
    const { pages, length } = pool.find(ids, this.modeValue);
    if (length <= common) return;
    this.#owner.cachedTokens += length - common;
    const own = this.#pages.toReversed();
    this.#hold(pages, length);
    for (const page of own) pool.release(page);
  }

  /**
   * One request more, or less, waits to append tokens.
   *
   * @internal
   */
  countWaiting(change: 1 | -1): void {
    this.#waiting += change;
    if (this.#waiting === 0) this.#giveUpAhead();
  }

  /**
   * Pages that are still to be taken before `count` tokens can be appended.
   *
   * @internal
   */
  missingPages(count: number): number {
    const grown = pagesFor(this.#length + count) - this.#pages.length;
    const copied = count > 0 && this.#hasToCopy() ? 1 : 0;
    return Math.max(0, grown + copied - this.#ahead.length);
  }

  /**
   * Takes the pages that are missing for `count` tokens: as many as there are.
   *
   * @internal
   */
  takeAhead(count: number): void {
    for (let missing = this.missingPages(count); missing > 0; missing--) {
      const page = this.#owner.pool.take();
      if (page === undefined) return;
      this.#ahead.push(page);
    }
  }

  /**
   * What a step needs to append `count` tokens, whose pages have been taken. The
   * sequence stays as it is until {@linkcode commit}.
   *
   * @internal
   */
  plan(count: number): Growth {
    const hasToCopy = this.#hasToCopy();
    const end = pagesFor(this.#length + count);
    if (!hasToCopy && end === this.#pages.length) return { pages: this.#pages };
    const pages = this.#pages.slice();
    const ahead = this.#ahead.values();
    let copy: Growth["copy"];
    if (hasToCopy) {
      copy = { from: pages.pop()!, to: ahead.next().value! };
      pages.push(copy.to);
    }
    while (pages.length < end) pages.push(ahead.next().value!);
    return { pages, copy };
  }

  /**
   * Appends ids, which a step has evaluated into the pages of `growth`.
   *
   * @internal
   */
  commit({ pages, copy }: Growth, pieces: readonly Iterable<number>[]): void {
    const { pool } = this.#owner;
    const before = this.#length;
    const used = pages.length - this.#pages.length + (copy ? 1 : 0);
    if (used > 0) this.#ahead.splice(0, used);
    this.#pages = pages;
    if (copy) {
      pool.tokensOf(copy.to).set(pool.tokensOf(copy.from));
      pool.release(copy.from);
    }
    for (const ids of pieces) {
      for (const id of ids) {
        const page = pages[Math.floor(this.#length / pagePositions)];
        pool.tokensOf(page)[this.#length++ % pagePositions] = id;
      }
    }
    // The pages that are full now can be found again.
    const full = Math.floor(this.#length / pagePositions);
    for (let i = Math.floor(before / pagePositions); i < full; i++) {
      this.#remember(i, pagePositions);
    }
  }

  #remember(index: number, count: number): void {
    const page = this.#pages[index], before = this.#pages[index - 1];
    const known = this.#owner.pool.remember(
      page,
      count,
      before,
      this.modeValue,
    );
    if (known !== page) this.#pages = this.#pages.with(index, known);
  }

  /** Gives pages back that were taken for tokens that do not come. */
  #giveUpAhead(): void {
    for (const page of this.#ahead.splice(0)) this.#owner.pool.release(page);
  }

  #hold(pages: readonly number[], length: number): void {
    this.#pages = pages.slice(0, pagesFor(length));
    this.#length = length;
    for (const page of this.#pages) this.#owner.pool.retain(page);
  }

  /** Whether the next token goes into a page that holds tokens of others. */
  #hasToCopy(): boolean {
    const at = this.#length % pagePositions;
    return at > 0 && !this.#owner.pool.isWritable(this.#pages.at(-1)!, at);
  }

  #check(): void {
    if (this.#dropped) throw droppedError();
  }
}

/** What places had counted before a step and after it, and how many tokens that had. */
export interface StepCounts {
  readonly before: LayerCounts;
  readonly after: LayerCounts;
  readonly tokens: number;
}

/** Why a sequence that was dropped cannot be used. */
export function droppedError(): UsageError {
  return new UsageError("Cannot use a sequence that was dropped");
}

/** Pages that tokens are evaluated into, on their way into a sequence. */
export interface Growth {
  /** All of the sequence's, once it has grown */
  readonly pages: readonly number[];
  /** The page that is copied first, for another holds it too */
  readonly copy?: { readonly from: number; readonly to: number };
}
