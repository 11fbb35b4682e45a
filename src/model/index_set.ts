/** Sets of indices: heads, neurons, rows, columns. */

/** Indices `start` to `end - 1`. */
export interface Range {
  /** The first */
  readonly start: number;
  /** One more than the last */
  readonly end: number;
}

/** All indices of a range, or a list of them in ascending order, each once. */
export type IndexSet = Range | Uint32Array;

/** None at all. */
export const noIndices: Range = { start: 0, end: 0 };

/** Whether a set is a list. */
export function isList(set: IndexSet): set is Uint32Array {
  return set instanceof Uint32Array;
}

/** How many indices a set holds. */
export function lengthOf(set: IndexSet): number {
  return isList(set) ? set.length : set.end - set.start;
}

/** Index number `i` of a set, in ascending order. */
export function indexAt(set: IndexSet, i: number): number {
  return isList(set) ? set[i] : set.start + i;
}

/** The smallest range that holds a set. */
export function spanOf(set: IndexSet): Range {
  if (!isList(set)) return set;
  return set.length === 0
    ? noIndices
    : { start: set[0], end: set[set.length - 1] + 1 };
}

/** A list of a set's indices. */
export function listOf(set: IndexSet): Uint32Array {
  if (isList(set)) return set;
  return Uint32Array.from({ length: lengthOf(set) }, (_, i) => set.start + i);
}

/** A list as the range that it fills, where it fills one. */
export function compact(set: IndexSet): IndexSet {
  const span = spanOf(set);
  return lengthOf(span) === lengthOf(set) ? span : set;
}

/** The indices below `count` that are not in a set. */
export function complementOf(set: IndexSet, count: number): IndexSet {
  const others = new Uint32Array(count - lengthOf(set));
  let filled = 0, next = 0;
  for (let i = 0; i < lengthOf(set); i++) {
    const index = indexAt(set, i);
    while (next < index) others[filled++] = next++;
    next = index + 1;
  }
  while (next < count) others[filled++] = next++;
  return compact(others);
}

/** The part of a set from its index number `range.start` to number `range.end - 1`. */
export function sectionOf(set: IndexSet, { start, end }: Range): IndexSet {
  return isList(set)
    ? compact(set.subarray(start, end))
    : { start: set.start + start, end: set.start + end };
}

/** Tells where an index stands in a set that holds it: its number there. */
export function numbering(set: IndexSet): (index: number) => number {
  if (!isList(set)) return (index) => index - set.start;
  const { start, end } = spanOf(set);
  const numbers = new Uint32Array(end - start);
  set.forEach((index, i) => numbers[index - start] = i);
  return (index) => numbers[index - start];
}
