/**
 * How many workgroups share the positions that a head attends to. One for each
 * head and token leaves a large device idle where there are few of them.
 *
 * @module
 */

/** Workgroups that keep a large device busy, and the fewest positions that are worth one. */
const enoughWorkgroups = 512, splitPositions = 512;

/** How many workgroups share the positions of a head, where `heads` heads attend to `positions` each for `tokens` tokens. */
export function splitsFor(
  heads: number,
  tokens: number,
  positions: number,
): number {
  return Math.max(
    1,
    Math.min(
      Math.floor(enoughWorkgroups / (heads * tokens)),
      Math.ceil(positions / splitPositions),
    ),
  );
}

/** Bytes of the splits' results, in contexts of so many positions. */
export function partsBytes(contextSize: number, headSize: number): number {
  if (contextSize <= splitPositions) return 16;
  return enoughWorkgroups * 4 * (paddedHead(headSize, 32) + 4);
}

/** Elements of a head, filled up to whole units of so many. */
export function paddedHead(headSize: number, unit: number): number {
  return unit * Math.ceil(headSize / unit);
}
