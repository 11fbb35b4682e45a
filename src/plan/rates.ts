/**
 * Where a layer's hot neurons end. Rows that follow one another are read three
 * times as fast as rows picked here and there, so a neuron that fires often is
 * cheaper to read always than to ask.
 *
 * @module
 */

/** How fast a CPU place is, measured on its own weights. */
export interface Rates {
  /** Bytes of rows that follow one another, in a millisecond */
  readonly stream: number;
  /** Bytes of rows picked here and there, in a millisecond */
  readonly pick: number;
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

/**
 * How many of the hottest neurons to stream. `shares` says for what share of
 * tokens each row is needed, hottest first; the cost of streaming one row is 1,
 * that of picking it `share / ratio + question`, where `question` is what it
 * costs to find out whether it is needed.
 */
export function hotBorder(
  shares: ArrayLike<number>,
  ratio: number,
  question = 0,
): number {
  let cost = 0, best = 0, border = shares.length;
  for (let i = shares.length - 1; i >= 0; i--) {
    cost += shares[i] / ratio + question - 1;
    if (cost < best) {
      best = cost;
      border = i;
    }
  }
  return border;
}
