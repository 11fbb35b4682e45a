/**
 * Whether several tokens' products with a matrix, of which each needs some, are
 * computed one by one where they are needed, or all of them, in tiles.
 */
import type { Rates } from "./machine.ts";

/** What reading a picked row costs beside one of all rows in order (`wasm/src/picked.rs`). */
const pickedCost = 1.6;

/**
 * Whether the products that are needed, a `share` of the rows times `tokens`, take
 * less time than all of them. In tiles rows are read while they are multiplied,
 * so that the slower of both counts; picked ones are read first: of all rows those
 * that some token needs, taken to need them independently of one another.
 */
export function scatterPays(
  { stream, tiles, scatter }: Pick<Rates, "stream" | "tiles" | "scatter">,
  tokens: number,
  share: number,
): boolean {
  const all = Math.max(1 / stream, tokens / tiles);
  const union = 1 - (1 - share) ** tokens;
  const read = Math.min(1, pickedCost * union) / stream;
  return read + tokens * share / (scatter * tiles) < all;
}
