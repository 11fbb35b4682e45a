/**
 * Which columns of the rows that a loader gives belong to a place.
 *
 * @module
 */
import {
  indexAt,
  type IndexSet,
  isList,
  lengthOf,
  numbering,
  type Range,
} from "../../../model/index_set.ts";
import { readColumns, type Shard } from "../../../model/shard.ts";

/** Rows as they are read, and what of them is kept. */
export interface KeptColumns {
  /** Weights of a row that is read */
  readonly length: number;
  /** What is kept of it, in the order in which it lies on the device */
  readonly runs: readonly Range[];
}

/** Keeps the columns `own` of a shard: it may have more, since it is widened to whole blocks. */
export function keptColumns(
  shard: Shard,
  own: IndexSet = shard.columns,
): KeptColumns {
  const { length } = readColumns(shard);
  if (!isList(shard.columns) && !isList(own)) {
    return { length, runs: lengthOf(own) > 0 ? [own] : [] };
  }
  const numberOf = isList(shard.columns)
    ? numbering(shard.columns)
    : (index: number) => index;
  const runs: { start: number; end: number }[] = [];
  for (let i = 0; i < lengthOf(own); i++) {
    const column = numberOf(indexAt(own, i));
    const last = runs.at(-1);
    if (last?.end === column) last.end++;
    else runs.push({ start: column, end: column + 1 });
  }
  return { length, runs };
}
