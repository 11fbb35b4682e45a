/**
 * Keys and values computed anew, after the place that held them is gone.
 *
 * @module
 */
import { pagePositions } from "../places/batch.ts";
import type { Team } from "../places/team.ts";
import type { PagePool, Sequence } from "./sequence.ts";

/**
 * Evaluates the tokens of every sequence of `pool` into the pages that it
 * holds, each page once, however many sequences share it. `waiting` tells how
 * many of a sequence's last tokens are to be left out.
 *
 * @throws {PlaceError} where a place died
 */
export async function replay(
  team: Team,
  pool: PagePool,
  waiting: (sequence: Sequence) => number,
): Promise<void> {
  /** Positions of each page that are filled */
  const filled = new Map<number, number>();
  for (const sequence of pool.sequences) {
    const end = sequence.length - waiting(sequence);
    let position = 0;
    while (position < end && isFilled(filled, sequence, position)) position++;
    while (position < end) {
      const count = Math.min(team.limits.tokens, end - position);
      fill(team, pool, sequence, position, count);
      await team.run();
      position += count;
    }
    sequence.pages.forEach((page, i) => {
      const positions = Math.min(pagePositions, end - i * pagePositions);
      filled.set(page, Math.max(positions, filled.get(page) ?? 0));
    });
  }
}

function isFilled(
  filled: ReadonlyMap<number, number>,
  { pages }: Sequence,
  position: number,
): boolean {
  const page = pages[Math.floor(position / pagePositions)];
  return position % pagePositions < (filled.get(page) ?? 0);
}

/** Makes a step of `count` tokens of one sequence that wants no logits. */
function fill(
  { batch }: Team,
  pool: PagePool,
  sequence: Sequence,
  first: number,
  count: number,
): void {
  for (let t = 0; t < count; t++) {
    batch.tokens[t] = sequence.tokenAt(first + t);
    batch.positions[t] = first + t;
    batch.sequences[t] = 0;
    batch.wantLogits[t] = 0;
    batch.keep[t] = sequence.keep ?? 0;
  }
  batch.pages.set(sequence.pages, 0);
  batch.length = count;
  batch.copyCount = 0;
  batch.pageCount = pool.count;
}
