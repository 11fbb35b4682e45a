/**
 * Groups of neurons, in which a token's sum over a layer's neurons is computed
 * whoever holds them: the groups follow from the model alone, and their sums
 * are added along a fixed binary tree. So a sum is rounded the same way for
 * any number of places. One that holds a whole subtree adds it up by itself.
 * Where there are experts, a group has the same neurons of each of them, and
 * they are counted within one.
 */
import { expertSize } from "../model/experts.ts";
import type { Model } from "../model/model.ts";
import {
  type IndexSet,
  isList,
  lengthOf,
  noIndices,
  type Range,
  spanOf,
} from "../model/index_set.ts";

/**
 * Groups of a layer, at most: 2, 3, 4, 6, 8 and 12 places get equally many, and
 * of 2, 4 and 8 each holds a subtree. A group costs a token about 1 µs a layer
 * at 4096 columns.
 */
const mostGroups = 24;
/** Neurons of a group, at least, where a layer has more than one. */
const leastNeurons = 64;

/** How many groups a layer of `neurons` neurons has. */
export function groupCount(neurons: number): number {
  let count = mostGroups;
  while (count > 1 && neurons < count * leastNeurons) count >>= 1;
  return count;
}

/** Neurons of a layer's largest group. */
export function largestGroup(neurons: number): number {
  return Math.ceil(neurons / groupCount(neurons));
}

/** The first neuron of a group. */
export function groupStart(neurons: number, group: number): number {
  return Math.round(neurons * group / groupCount(neurons));
}

/** The group that a neuron is in. */
export function groupOf(neurons: number, id: number): number {
  const count = groupCount(neurons);
  const group = Math.floor(id * count / neurons);
  if (id < groupStart(neurons, group)) return group - 1;
  return id < groupStart(neurons, group + 1) ? group : group + 1;
}

/** How the groups of a place are summed. */
export interface GroupSums {
  /** The groups that it has neurons of; all are its own where `isWhole` */
  readonly groups: Range;
  readonly isWhole: boolean;
  /** By group, how many pairs of sums on top of a stack are added behind it */
  readonly merges: readonly number[];
  /** How many sums are left */
  readonly terms: number;
}

/** How a place sums some neurons of a layer of `count`: to one term where it has no whole groups. */
export function groupSums(count: number, neurons: IndexSet): GroupSums {
  if (lengthOf(neurons) === 0) {
    return { groups: noIndices, isWhole: true, merges: [], terms: 0 };
  }
  const { start, end } = spanOf(neurons);
  const groups = {
    start: groupOf(count, start),
    end: groupOf(count, end - 1) + 1,
  };
  const isWhole = !isList(neurons) &&
    start === groupStart(count, groups.start) &&
    end === groupStart(count, groups.end);
  // Those of a place that has parts of groups make a tree of their own.
  const own = isWhole ? groups : { start: 0, end: lengthOf(groups) };
  const all = { start: 0, end: isWhole ? groupCount(count) : own.end };
  const merges = mergesOf(
    all,
    (node) => lengthOf(node) === 1,
    (node) => isWithin(node, own),
  ).slice(own.start, own.end);
  const terms = merges.reduce((terms, count) => terms + 1 - count, 0);
  return { groups, isWhole, merges, terms };
}

/**
 * How the terms of several places, in their order, are added to one: behind
 * which term how many pairs. Those of whole groups along the tree, others one
 * after the other.
 */
export function termMerges(
  count: number,
  places: readonly GroupSums[],
): number[] {
  const held = places.filter(({ terms }) => terms > 0);
  const inOrder = held.every(({ isWhole, groups }, i) =>
    isWhole && groups.start === (i === 0 ? 0 : held[i - 1].groups.end)
  );
  const isAll = held.at(-1)?.groups.end === groupCount(count);
  if (!inOrder || !isAll) {
    return inTurn(held.reduce((n, { terms }) => n + terms, 0));
  }
  return mergesOf(
    { start: 0, end: groupCount(count) },
    (node) => held.some(({ groups }) => isWithin(node, groups)),
    () => true,
  );
}

/** Terms added one after the other. */
export function inTurn(terms: number): number[] {
  return Array.from({ length: terms }, (_, i) => Math.min(i, 1));
}

/** By leaf of the tree below a node, how many of its counted subtrees end there. */
function mergesOf(
  { start, end }: Range,
  isLeaf: (node: Range) => boolean,
  isCounted: (node: Range) => boolean,
): number[] {
  if (isLeaf({ start, end })) return [0];
  const middle = Math.ceil((start + end) / 2);
  const merges = [{ start, end: middle }, { start: middle, end }]
    .flatMap((half) => mergesOf(half, isLeaf, isCounted));
  if (isCounted({ start, end })) merges[merges.length - 1]++;
  return merges;
}

function isWithin(node: Range, { start, end }: Range): boolean {
  return node.start >= start && node.end <= end;
}

/** Sums that a place has side by side on its stack, at most: of all groups of a layer, or of two places. */
export function stackDepth(model: Model): number {
  let depth = 0, most = 2;
  if (!model.layers.some(({ ffn_down_t }) => ffn_down_t)) return most;
  const size = expertSize(model);
  for (const merges of groupSums(size, { start: 0, end: size }).merges) {
    most = Math.max(most, ++depth);
    depth -= merges;
  }
  return most;
}
