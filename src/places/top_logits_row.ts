/**
 * The row in which places return the largest logits of a token: log Σ exp, then k
 * logits, then the bits of their k ids. A GPU always gives the sum; CPU places
 * have not computed all that it is of, and give NaN.
 */
import { lengthOf, type Range } from "../model/index_set.ts";
import type { Plan } from "../plan/plan.ts";
import type { TopLogits } from "../sampling/logits.ts";
import type { Batch } from "./batch.ts";

/** The most logits that a GPU picks of a row. */
const mostPicked = 64;

/** The most that a CPU place picks (`wasm/src/top.rs`). */
const mostPickedByCpu = 256;

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

/**
 * How many of a row's largest logits each CPU place can pick of its own, at most:
 * none where a GPU has some, and no more than any place has, or than make what
 * places hand one another shorter than all logits.
 */
export function pickedByCpuAtMost(
  vocabSize: number,
  { places, gpu }: Plan,
): number {
  if (gpu && lengthOf(gpu.vocab) > 0) return 0;
  const shorter = Math.ceil(vocabSize / (3 * places.length)) - 1;
  const lengths = places.map(({ vocab }) => lengthOf(vocab));
  return Math.min(mostPickedByCpu, shorter, ...lengths);
}

/** Numbers in the row of `k` picked logits. */
export function topLogitsRowLength(k: number): number {
  return 1 + 2 * k;
}

/** Numbers in a team's row of results for a token, where CPU places have not picked. */
export function resultLength(
  batch: Batch,
  vocabSize: number,
  vocab?: Range,
): number {
  const picked = pickedOf(batch, vocabSize, vocab);
  return picked > 0 ? topLogitsRowLength(picked) : vocabSize;
}

/** Logits that were picked, the largest first; `ids` are numbers of rows. */
export interface Picked {
  readonly ids: Uint32Array;
  readonly logits: Float32Array;
}

/** The `k` largest of a row's logits, the lower id first among equals; NaN before all others. */
export function pick(row: Float32Array, k: number): Picked {
  const isNaN = (id: number) => Number(Number.isNaN(row[id]));
  const ids = Uint32Array.from(row.keys())
    .sort((a, b) => isNaN(b) - isNaN(a) || row[b] - row[a] || a - b)
    .slice(0, k);
  return { ids, logits: Float32Array.from(ids, (id) => row[id]) };
}

/** A row of the `k` largest of what places have picked, whose ids are all different. */
export function packTopLogits(
  picked: readonly Picked[],
  k: number,
): Float32Array {
  const ids = Uint32Array.from(picked.flatMap(({ ids }) => [...ids]));
  const all = Float32Array.from(picked.flatMap(({ logits }) => [...logits]));
  const row = new Float32Array(topLogitsRowLength(k));
  const { ids: order, logits } = pick(all, k);
  row[0] = NaN;
  row.set(logits, 1);
  new Uint32Array(row.buffer, 4 * (1 + k)).set(order.map((i) => ids[i]));
  return row;
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
