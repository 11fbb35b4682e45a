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
} from "../../plan/indices.ts";
import { readColumns, type Slice } from "../slices.ts";

/** Rows as they are read, and what of them is kept. */
export interface KeptColumns {
  /** Weights of a row that is read */
  readonly length: number;
  /** What is kept of it, in the order in which it lies on the device */
  readonly runs: readonly Range[];
}

/** Keeps the columns `own` of a slice: it may have more, since it is widened to whole blocks. */
export function keptColumns(
  slice: Slice,
  own: IndexSet = slice.columns,
): KeptColumns {
  const { length } = readColumns(slice);
  if (!isList(slice.columns) && !isList(own)) {
    return { length, runs: lengthOf(own) > 0 ? [own] : [] };
  }
  const numberOf = isList(slice.columns)
    ? numbering(slice.columns)
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
