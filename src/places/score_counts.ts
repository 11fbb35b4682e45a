/**
 * How a predictor's scores of the neurons that fire are spread, by layer: what
 * threshold selects which share of them.
 */

/** Bits of a score that tell its bucket: a 128th of its size. */
const bucketBits = 16;
const buckets = 2 ** bucketBits;

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The bucket of a score: the first bits of an f32, in the order of numbers. */
function bucketOf(score: number): number {
  float[0] = score;
  const [word] = bits;
  const ordered = word >>> 31 ? ~word >>> 0 : word + 2 ** 31;
  return ordered >>> (32 - bucketBits);
}

/** The least score of a bucket. */
function leastOf(bucket: number): number {
  const ordered = bucket * 2 ** (32 - bucketBits);
  bits[0] = ordered >= 2 ** 31 ? ordered - 2 ** 31 : ~ordered;
  return float[0];
}

/** A histogram of each layer's, in one buffer that threads may share. */
export class ScoreCounts {
  /** By layer, how many scores of neurons that fired lie in each bucket */
  readonly #layers: readonly Uint32Array[];

  /** Lays the counters over `buffer`, which has `byteLength` bytes from `offset`. */
  constructor(
    layers: number,
    buffer: ArrayBufferLike = new ArrayBuffer(ScoreCounts.byteLength(layers)),
    offset = 0,
  ) {
    this.#layers = Array.from(
      { length: layers },
      (_, i) => new Uint32Array(buffer, offset + 4 * buckets * i, buckets),
    );
  }

  /** Bytes that the counters of `layers` layers take. */
  static byteLength(layers: number): number {
    return 4 * buckets * layers;
  }

  /** Counts the scores of a token's neurons that fire: those whose h is not zero. */
  add(layer: number, scores: Float32Array, h: Float32Array): void {
    const counts = this.#layers[layer];
    for (let j = 0; j < h.length; j++) {
      // Other places count in the same buckets.
      if (h[j] !== 0) Atomics.add(counts, bucketOf(scores[j]), 1);
    }
  }

  /**
   * By layer, a threshold that at least the share `recall` of the scores
   * reach, and hardly more; Infinity where nothing fired.
   */
  thresholds(recall: number): number[] {
    return this.#layers.map((counts) => {
      const all = counts.reduce((sum, count) => sum + count, 0);
      let below = 0;
      for (let bucket = 0; bucket < buckets; bucket++) {
        below += counts[bucket];
        if (below > (1 - recall) * all + 1e-9) return leastOf(bucket);
      }
      return Infinity;
    });
  }
}
