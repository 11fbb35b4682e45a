/**
 * Keys and values computed anew, after the places that held them are gone.
 *
 * @module
 */
import { LimitError } from "../errors.ts";
import { pagePositions } from "../places/batch.ts";
import type { Team } from "../places/team.ts";
import type { Sequence, SequenceOwner } from "./sequence.ts";

/**
 * Evaluates the tokens of every sequence into the pages that it holds, each
 * page once, however many sequences share it.
 *
 * @throws {LimitError} where the team cannot hold as many pages
 * @throws {PlaceError} where a place died
 */
export async function replay(
  team: Team,
  { pool, sequences }: SequenceOwner,
): Promise<void> {
  const held = await team.reserve(pool.count);
  if (held < pool.count) {
    throw new LimitError(
      `Cannot compute ${pool.count} pages of keys and values anew: there is memory for ${held}`,
    );
  }
  /** Positions of each page that are filled */
  const filled = new Map<number, number>();
  for (const sequence of sequences) {
    const { length } = sequence;
    let position = 0;
    while (position < length && isFilled(filled, sequence, position)) {
      position++;
    }
    while (position < length) {
      const count = Math.min(team.limits.tokens, length - position);
      fill(team, sequence, position, count);
      await team.run();
      position += count;
    }
    sequence.pages.forEach((page, i) => {
      const positions = Math.min(pagePositions, length - i * pagePositions);
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
  batch.top = 0;
}
