/**
 * How fast a CPU place is, and with which kernels, as it has measured itself.
 *
 * @module
 */
import type { CpuRates } from "./machine.ts";

/** How fast a CPU place is, measured on its own weights. */
export interface Rates extends CpuRates {
  /**
   * The share of a prompt's products (rows times tokens) below which computing
   * those that are needed is faster than computing all in tiles
   */
  readonly scatter: number;
  /** Rows that one token streams side by side: as many as turned out faster */
  readonly rowsAtOnce: 4 | 12;
  /** In which numbers products of 4-bit weights with one token are summed first */
  readonly rowSums: "i16" | "i32";
  /** The same with several tokens */
  readonly tileSums: "i16" | "i32";
}

/** The rates of all places together. */
export function sumOfRates(rates: readonly Rates[]): CpuRates {
  const sum = (name: keyof CpuRates) =>
    rates.reduce((total, place) => total + place[name], 0);
  return { stream: sum("stream"), pick: sum("pick") };
}
