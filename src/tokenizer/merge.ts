import { TokenizerError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import type { Vocabulary } from "./vocabulary.ts";

/**
 * Ranks the merge of text `start..middle` with text `middle..end`: the lowest
 * rank merges first. Undefined where the two do not merge.
 */
export type MergeRank = (
  start: number,
  middle: number,
  end: number,
) => number | undefined;

/**
 * Byte-pair encoding: again and again merges the two neighbours with the
 * lowest rank, the leftmost of equals, until no neighbours merge.
 * O(n log n) in the number of symbols.
 *
 * @param bounds Where the n symbols begin, then where the last one ends: n + 1 offsets.
 * @param rank Which neighbours merge, and when.
 * @returns The bounds that are left.
 */
export function mergeSymbols(
  bounds: readonly number[],
  rank: MergeRank,
): number[] {
  const count = bounds.length - 1;
  if (count < 2) return [...bounds];
  // Symbol i runs from bounds[i] to bounds[next[i]]; one that was merged into
  // its left neighbour has no `next`.
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: count + 1 }, (_, i) => i - 1);
  const queue = new MergeQueue();

  const offer = (left: number): void => {
    if (left < 0) return;
    const right = next[left];
    if (right === count) return;
    const after = next[right];
    const value = rank(bounds[left], bounds[right], bounds[after]);
    if (value !== undefined) queue.push({ rank: value, left, right, after });
  };

  for (let i = 0; i < count - 1; i++) offer(i);
  for (let merge = queue.pop(); merge; merge = queue.pop()) {
    const { left, right, after } = merge;
    const isStale = next[left] !== right || next[right] !== after;
    if (isStale) continue;
    next[left] = after;
    next[right] = MERGED;
    previous[after] = left;
    offer(previous[left]);
    offer(left);
  }

  const rest = [bounds[0]];
  for (let i = 0; i < count; i = next[i]) rest.push(bounds[next[i]]);
  return rest;
}

const MERGED = -1;

interface Merge {
  readonly rank: number;
  readonly left: number;
  readonly right: number;
  readonly after: number;
}

/** A binary heap: the lowest rank first, then the leftmost. */
class MergeQueue {
  readonly #heap: Merge[] = [];

  push(merge: Merge): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(merge, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = merge;
  }

  pop(): Merge | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (
        child + 1 < heap.length && isBefore(heap[child + 1], heap[child])
      ) child++;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function isBefore(a: Merge, b: Merge): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.left < b.left);
}

/** The length of the longest piece: nothing longer need be looked up. */
export function longestOf(pieces: readonly string[]): number {
  return pieces.reduce((longest, { length }) => Math.max(longest, length), 0);
}

/**
 * Ranks of merges, the most important first, each as `left right`.
 *
 * @throws {TokenizerError} A merge is not two tokens with a space between, or names a token that is missing.
 */
export function rankMerges(
  vocabulary: Vocabulary,
  merges: readonly string[],
): Map<string, number> {
  const ranks = new Map<string, number>();
  merges.forEach((merge, rank) => {
    const middle = merge.indexOf(" ");
    const left = merge.slice(0, middle);
    const right = merge.slice(middle + 1);
    if (middle < 1 || right === "" || right.includes(" ")) {
      throw new TokenizerError(
        `Cannot read merge ${rank}: ${
          printable(JSON.stringify(merge))
        } is not two tokens with a space between`,
      );
    }
    for (const token of [left, right, left + right]) {
      if (vocabulary.idOf(token) === undefined) {
        throw new TokenizerError(
          `Cannot read merge ${rank}, ${
            printable(JSON.stringify(merge))
          }: the vocabulary's ${vocabulary.size} tokens do not include ${
            printable(JSON.stringify(token))
          }`,
        );
      }
    }
    if (!ranks.has(merge)) ranks.set(merge, rank);
  });
  return ranks;
}

/** Where each character (code point) of a text begins, then where it ends. */
export function characterBounds(text: string): number[] {
  const bounds = [0];
  let end = 0;
  for (const character of text) bounds.push(end += character.length);
  return bounds;
}
