/**
 * The pages of the KV cache, by number: who holds them, and for which tokens.
 * Places hold as many as the pool has, so that a step never lacks one. Pages are
 * known by the tokens that led to them too, in a trie with a page a node, so that
 * a text that begins as another did takes them over.
 */
import { type ModeValue, pagePositions } from "../places/batch.ts";

/** A page that is known by its tokens, and what may follow it. */
interface Node {
  readonly page: number;
  /** The ids of its tokens: a full page, or the end of a text */
  readonly ids: Int32Array;
  /** By their ids */
  readonly siblings: Map<string, Node>;
  readonly children: Map<string, Node>;
}

/**
 * Counts by how many sequences each page is held. A page in use has all pages
 * before it in use, so those that no sequence uses any more leave the trie leaf
 * by leaf.
 */
export class PagePool {
  readonly #references: number[] = [];
  /** Neither held by a sequence nor kept for later */
  readonly #free: number[] = [];
  /** Kept for later, and held by no sequence; the one unused for longest first */
  readonly #unused = new Set<number>();
  /** The ids whose keys and values each page holds, `[pagePositions]` */
  readonly #tokens: Int32Array[] = [];
  /** Of the pages that are known by their tokens */
  readonly #nodes = new Map<number, Node>();
  /**
   * Pages that begin a text, by the number that the sparsity mode takes for its
   * tokens: with another one they have other keys and values.
   */
  readonly #roots = new Map<string, Map<string, Node>>();

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
    return this.#free.length + this.#unused.size;
  }

  /** Those that hold something, of sequences or of the past. */
  get filled(): number[] {
    const free = new Set(this.#free);
    return [...this.#references.keys()].filter((page) => !free.has(page));
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
    const page = this.#free.pop() ?? this.#unused.values().next().value;
    if (page === undefined) return undefined;
    this.#forget(page);
    this.#references[page] = 1;
    return page;
  }

  /** One more sequence holds the page. */
  retain(page: number): void {
    if (this.#references[page]++ === 0) this.#unused.delete(page);
  }

  /** One sequence less holds the page. */
  release(page: number): void {
    if (--this.#references[page] > 0) return;
    if (this.#nodes.has(page)) this.#unused.add(page);
    else this.#free.push(page);
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
    const known = this.#nodes.get(page)?.ids.length ?? 0;
    return this.#references[page] === 1 && at >= known;
  }

  /**
   * The pages that hold the longest known beginning of `ids`, in order, of the
   * last perhaps only a part; and how many positions that is. Whoever takes them
   * retains them.
   */
  find(
    ids: readonly number[],
    modeValue?: ModeValue,
  ): { pages: readonly number[]; length: number } {
    const pages: number[] = [];
    let level = this.#rootsOf(modeValue);
    let length = 0;
    for (;;) {
      const rest = ids.slice(length, length + pagePositions);
      const node = rest.length === pagePositions && level.get(rest.join());
      if (!node) {
        const { page, common } = mostAlike(level, rest);
        if (common > 0) pages.push(page);
        return { pages, length: length + common };
      }
      pages.push(node.page);
      length += pagePositions;
      level = node.children;
    }
  }

  /**
   * Keeps a held page to be found by its first `count` tokens, behind the full
   * page `before`, or where none is given at a text's start. Gives the page to go
   * on with: one that is known by the same tokens takes its place.
   */
  remember(
    page: number,
    count: number,
    before: number | undefined,
    modeValue?: ModeValue,
  ): number {
    if (!this.keepsPast) return page;
    const parent = before === undefined ? undefined : this.#nodes.get(before);
    if (before !== undefined && parent?.ids.length !== pagePositions) {
      return page;
    }
    const siblings = parent?.children ?? this.#rootsOf(modeValue);
    const ids = this.#tokens[page].slice(0, count), key = ids.join();
    const known = siblings.get(key);
    if (!known) {
      this.#forget(page);
      const node = { page, ids, siblings, children: new Map() };
      siblings.set(key, node);
      this.#nodes.set(page, node);
    } else if (known.page !== page) {
      this.retain(known.page);
      this.release(page);
    }
    return known?.page ?? page;
  }

  /** Forgets by which tokens pages are known: what they hold is lost. */
  forgetPast(): void {
    for (const page of this.#unused) this.#free.push(page);
    this.#unused.clear();
    this.#nodes.clear();
    this.#roots.clear();
  }

  /** Forgets by which tokens a page is known, if it is. */
  #forget(page: number): void {
    const node = this.#nodes.get(page);
    node?.siblings.delete(node.ids.join());
    this.#nodes.delete(page);
    this.#unused.delete(page);
  }

  #rootsOf(modeValue: ModeValue | undefined): Map<string, Node> {
    const key = String(modeValue);
    let roots = this.#roots.get(key);
    if (!roots) this.#roots.set(key, roots = new Map());
    return roots;
  }
}

/** The page whose tokens begin as `ids` do for longest. */
function mostAlike(
  level: ReadonlyMap<string, Node>,
  ids: readonly number[],
): { page: number; common: number } {
  let best = { page: 0, common: 0 };
  for (const { page, ids: known } of level.values()) {
    let common = 0;
    while (
      common < ids.length && common < known.length &&
      known[common] === ids[common]
    ) common++;
    if (common > best.common) best = { page, common };
  }
  return best;
}
