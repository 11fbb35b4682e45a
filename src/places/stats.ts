/** What the places computed, skipped and read, by layer. */

/** What was counted for one layer. */
export interface LayerStats {
  /** neurons · tokens that went by: of experts, those of the chosen ones */
  readonly neurons: number;
  /** gate rows multiplied */
  readonly gateRows: number;
  /** up rows multiplied */
  readonly upRows: number;
  /** down rows (PowerInfer form) or neurons' columns (dense form) used */
  readonly downRows: number;
  /** neurons whose gate was positive */
  readonly gatePositive: number;
  /** neurons whose h was not zero, before top-k or threshold drop any */
  readonly active: number;
  /** neurons above the border, whose rows are read without a test */
  readonly hot: number;
  /** neurons that the predictor selected */
  readonly predicted: number;
  /** neurons that are truly active; counted only while recall is measured */
  readonly truth: number;
  /** of those, how many the predictor selected */
  readonly recalled: number;
  /** Σ |h| of the neurons that are truly active; counted only while recall is measured */
  readonly truthMass: number;
  /** of that, what belongs to neurons that the predictor selected */
  readonly recalledMass: number;
  /** experts · tokens that went by, where there is a router */
  readonly experts: number;
  /** of those, how many were chosen */
  readonly chosenExperts: number;
  /** experts that some token of a step chose, over all steps: the rows of others were not read */
  readonly readExperts: number;
  /** of those, how many were not in memory */
  readonly missedExperts: number;
  /** rows of matrices that are in memory in part, which were asked for */
  readonly askedRows: number;
  /** of those, how many were not in memory */
  readonly missedRows: number;
  /** bytes of the file that were read meanwhile, where a budget does not hold all */
  readonly fileBytes: number;
  /** bytes of packed weights and KV read in sequence */
  readonly streamed: number;
  /** bytes of packed weights read in rows picked here and there */
  readonly picked: number;
}

/** One of the counted figures. */
export type CountName = keyof LayerStats;

/** Where each stands among the counters of a layer. */
const countIndex: Readonly<Record<CountName, number>> = {
  neurons: 0,
  gateRows: 1,
  upRows: 2,
  downRows: 3,
  gatePositive: 4,
  active: 5,
  hot: 6,
  predicted: 7,
  truth: 8,
  recalled: 9,
  truthMass: 10,
  recalledMass: 11,
  streamed: 12,
  picked: 13,
  experts: 14,
  chosenExperts: 15,
  readExperts: 16,
  missedExperts: 17,
  fileBytes: 18,
  askedRows: 19,
  missedRows: 20,
};
const countNames = Object.keys(countIndex) as CountName[];

/** Counters of each layer since the start, in one buffer that threads may share. */
export class LayerCounts {
  readonly #values: Float64Array;

  /** Counters for `layers` layers, and one more (the last) for embedding and output head. */
  constructor(
    readonly layers: number,
    buffer: ArrayBufferLike = new ArrayBuffer(LayerCounts.byteLength(layers)),
    offset = 0,
  ) {
    const length = LayerCounts.byteLength(layers) / 8;
    this.#values = new Float64Array(buffer, offset, length);
  }

  /** Bytes that the counters of `layers` layers take. */
  static byteLength(layers: number): number {
    return 8 * countNames.length * (layers + 1);
  }

  /** Adds to one figure of one layer. */
  add(layer: number, name: CountName, amount: number): void {
    this.#values[layer * countNames.length + countIndex[name]] += amount;
  }

  /** Becomes the sum of the counters of several places. */
  setSum(counts: readonly LayerCounts[]): void {
    this.#values.fill(0);
    for (const other of counts) {
      for (let i = 0; i < this.#values.length; i++) {
        this.#values[i] += other.#values[i];
      }
    }
  }

  /** Adds a share of what was counted between two moments. */
  addShare(before: LayerCounts, after: LayerCounts, share: number): void {
    for (let i = 0; i < this.#values.length; i++) {
      this.#values[i] += share * (after.#values[i] - before.#values[i]);
    }
  }

  /** One figure of one layer. */
  get(layer: number, name: CountName): number {
    return this.#values[layer * countNames.length + countIndex[name]];
  }
}

/** What all places together computed and read since the start. */
export interface PlaceStats {
  /** Tokens that went through the model. */
  readonly tokens: number;
  /** By layer. */
  readonly layers: readonly LayerStats[];
  /** Bytes read for embedding and output head. */
  readonly headBytes: number;
}

/** Adds up the counters of several places. */
export function sumCounts(
  counts: readonly LayerCounts[],
  tokens: number,
): PlaceStats {
  const layers = counts[0]?.layers ?? 0;
  const total = (layer: number, name: CountName) =>
    counts.reduce((sum, place) => sum + place.get(layer, name), 0);
  return {
    tokens,
    headBytes: total(layers, "streamed"),
    layers: Array.from(
      { length: layers },
      (_, layer) => layerStats((name) => total(layer, name)),
    ),
  };
}

function layerStats(figure: (name: CountName) => number): LayerStats {
  const figures = countNames.map((name) => [name, figure(name)]);
  return Object.fromEntries(figures);
}

/** What was computed and read between two moments. */
export function statsSince(now: PlaceStats, before: PlaceStats): PlaceStats {
  return {
    tokens: now.tokens - before.tokens,
    headBytes: now.headBytes - before.headBytes,
    layers: now.layers.map((layer, i) =>
      layerStats((name) => layer[name] - before.layers[i][name])
    ),
  };
}

/** One figure, added over all layers. */
export function totalOf(stats: PlaceStats, name: CountName): number {
  return stats.layers.reduce((sum, layer) => sum + layer[name], 0);
}

/** Bytes of weights and KV read, all layers and the head together. */
export function bytesRead(stats: PlaceStats): number {
  return totalOf(stats, "streamed") + totalOf(stats, "picked") +
    stats.headBytes;
}
