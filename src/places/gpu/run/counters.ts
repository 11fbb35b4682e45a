/**
 * What products count on the device.
 *
 * @module
 */
import { counters, counterWords } from "../kernels/products.ts";

/** What was counted for one layer since the last read-back. */
export interface Counted {
  readonly gatePositive: number;
  readonly active: number;
  /** Rows whose scores reach the threshold */
  readonly predicted: number;
}

/** The figures as they were read last; they go round at 2^32. */
export class CounterReader {
  readonly #last: Uint32Array;

  constructor(readonly layers: number) {
    this.#last = new Uint32Array(counterWords * layers);
  }

  /** Takes all figures, and calls `grown` for each layer whose figures have: between two read-backs that is one, as a rule. */
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
        gatePositive: by(first + counters.gate_positive),
        active: by(first + counters.active),
        predicted: by(first + counters.predicted),
      });
      grown(layer, set(0), set(counterWords / 2));
    }
    this.#last.set(figures);
  }
}
