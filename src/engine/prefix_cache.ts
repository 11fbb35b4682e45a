/**
 * Pages whose keys and values are known by the tokens that led to them, so that
 * a text that begins as another did takes them over: a trie with a page a node.
 *
 * @module
 */
import { pagePositions } from "../places/batch.ts";

/** A page, and what may follow it. */
interface Node {
  readonly page: number;
  /** The ids of its tokens: a full page, or the end of a text */
  readonly ids: Int32Array;
  /** By their ids */
  readonly siblings: Map<string, Node>;
  readonly children: Map<string, Node>;
}

/** What is known of a text. */
interface KnownPrefix {
  /** In order; of the last perhaps only a part holds */
  readonly pages: readonly number[];
  /** Positions that hold */
  readonly length: number;
}

/**
 * Knows pages by their tokens. A page in use has all pages before it in use, so
 * the pages that no sequence uses any more leave the trie leaf by leaf.
 */
export class PrefixCache {
  /**
   * Pages that begin a text, by the share of neurons that the text's tokens
   * keep: with another share they have other keys and values.
   */
  readonly #roots = new Map<number | undefined, Map<string, Node>>();
  readonly #nodes = new Map<number, Node>();
  /** Pages that no sequence holds, the one unused for longest first */
  readonly #unused = new Set<number>();

  /** Pages that no sequence holds. */
  get unused(): number {
    return this.#unused.size;
  }

  /** How many tokens a page is known by; 0 where it is not known. */
  tokensOf(page: number): number {
    return this.#nodes.get(page)?.ids.length ?? 0;
  }

  /** The pages that hold the longest known beginning of `ids`. */
  find(ids: readonly number[], keep?: number): KnownPrefix {
    const pages: number[] = [];
    let level = this.#rootsOf(keep);
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
   * Makes a page known by the `ids` in it, behind a full page, or where none
   * is given at a text's start. Gives the page that is known by them: another,
   * where the same tokens were evaluated twice.
   */
  add(
    page: number,
    ids: Int32Array,
    parentPage: number | undefined,
    keep?: number,
  ): number {
    const parent = parentPage === undefined
      ? undefined
      : this.#nodes.get(parentPage);
    if (parentPage !== undefined && parent?.ids.length !== pagePositions) {
      return page;
    }
    const siblings = parent?.children ?? this.#rootsOf(keep);
    const key = ids.join();
    const known = siblings.get(key);
    if (known) return known.page;
    this.#remove(page);
    const node = { page, ids, siblings, children: new Map() };
    siblings.set(key, node);
    this.#nodes.set(page, node);
    return page;
  }

  /** Some sequence holds the page. */
  use(page: number): void {
    this.#unused.delete(page);
  }

  /** No sequence holds the page any more. Says whether it is kept for later. */
  leave(page: number): boolean {
    if (!this.#nodes.has(page)) return false;
    this.#unused.add(page);
    return true;
  }

  /** Forgets the page that has been unused for longest, and gives it. */
  evict(): number | undefined {
    const [page] = this.#unused;
    if (page !== undefined) this.#remove(page);
    return page;
  }

  /** Forgets everything. Gives the pages that were unused. */
  clear(): number[] {
    const unused = [...this.#unused];
    this.#roots.clear();
    this.#nodes.clear();
    this.#unused.clear();
    return unused;
  }

  #remove(page: number): void {
    const node = this.#nodes.get(page);
    if (!node) return;
    node.siblings.delete(node.ids.join());
    this.#nodes.delete(page);
    this.#unused.delete(page);
  }

  #rootsOf(keep: number | undefined): Map<string, Node> {
    let roots = this.#roots.get(keep);
    if (!roots) this.#roots.set(keep, roots = new Map());
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
