/**
 * Rates of CPU places that are not measured: measuring takes a place longer than
 * everything else that most tests do with it.
 */
import type { Rates } from "../../src/plan/machine.ts";

let count = 0;

/** Other kernels each time, of which all give the same results, and other borders of what they compute. */
export function nextRates(): Rates {
  const i = count++;
  return {
    stream: 1e6,
    pick: [3e5, 6e5, 9e5][i % 3],
    tiles: [5e5, 4e6, 1e6, 2e6][i % 4],
    scatter: [0.2, 0.4, 0.6, 0.8, 1][i % 5],
    rowsAtOnce: i & 1 ? 12 : 4,
    rowSums: i & 2 ? "i32" : "i16",
    tileSums: i & 4 ? "i32" : "i16",
  };
}
