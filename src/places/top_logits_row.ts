/**
 * The row in which a GPU returns the largest logits of a token: log Σ exp,
 * then k logits, then the bits of their k ids.
 */
import { lengthOf, type Range } from "../model/index_set.ts";
import type { TopLogits } from "../sampling/logits.ts";
import type { Batch } from "./batch.ts";

/** The most logits that a GPU picks of a row. */
const mostPicked = 64;

/**
 * How many of the largest logits a place can pick by itself: none where it has
 * only a part of the vocabulary, and always so few that their row is shorter
 * than that of all logits.
 */
export function pickedAtMost(vocabSize: number, vocab?: Range): number {
  if (!vocab || lengthOf(vocab) < vocabSize) return 0;
  return Math.max(0, Math.min(mostPicked, Math.floor(vocabSize / 2) - 1));
}

/** How many of the largest logits of each row a GPU with these rows of the head returns; 0 = whole rows. */
export function pickedOf(
  batch: Batch,
  vocabSize: number,
  vocab?: Range,
): number {
  return batch.top <= pickedAtMost(vocabSize, vocab) ? batch.top : 0;
}

/** Numbers in the row of `k` picked logits. */
export function topLogitsRowLength(k: number): number {
  return 1 + 2 * k;
}

/** Numbers in a team's row of results for a token. */
export function resultLength(
  batch: Batch,
  vocabSize: number,
  vocab?: Range,
): number {
  const picked = pickedOf(batch, vocabSize, vocab);
  return picked > 0 ? topLogitsRowLength(picked) : vocabSize;
}

/** The contents of a row of picked logits; shares its memory. */
export function unpackTopLogits(row: Float32Array): TopLogits {
  const k = (row.length - 1) / 2;
  const idsAt = row.byteOffset + 4 * (1 + k);
  return {
    logSumExp: row[0],
    logits: row.subarray(1, 1 + k),
    ids: new Int32Array(row.buffer, idsAt, k),
  };
}
