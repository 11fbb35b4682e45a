/**
 * What kernels count on the device: for each layer three figures of single
 * tokens, and the same three of tokens in tiles.
 *
 * @module
 */

/** Figures of one layer. */
export const counterWords = 6;

/** What was counted for one layer since it was last asked. */
export interface Counted {
  readonly gatePositive: number;
  readonly active: number;
  /** Rows that a threshold asked for */
  readonly asked: number;
}

/** The figures as they were read last; they go round at 2^32. */
export class CounterReader {
  readonly #last: Uint32Array;

  constructor(readonly layers: number) {
    this.#last = new Uint32Array(counterWords * layers);
  }

  /** Takes all figures, and tells of each layer that has grown by how much: between two read-backs that is one, as a rule. */
  take(
    figures: Uint32Array,
    grown: (layer: number, single: Counted, tiled: Counted) => void,
  ): void {
    for (let layer = 0; layer < this.layers; layer++) {
      const at = counterWords * layer;
      const by = (i: number) => (figures[at + i] - this.#last[at + i]) >>> 0;
      let hasGrown = false;
      for (let i = 0; i < counterWords; i++) hasGrown ||= by(i) > 0;
      if (!hasGrown) continue;
      const set = (first: number): Counted => ({
        gatePositive: by(first),
        active: by(first + 1),
        asked: by(first + 2),
      });
      grown(layer, set(0), set(3));
    }
    this.#last.set(figures);
  }
}
