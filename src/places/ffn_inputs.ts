/**
 * What the feed-forward layers of a step read: the residual after `ffn_norm`.
 * Kept only where somebody wants to make a predictor of it.
 */
import type { Model } from "../model/model.ts";
import type { BatchLimits } from "./batch.ts";

/** The normed residual of the last step, by layer, in one buffer that threads may share. */
export class FfnInputs {
  /** `[layers, tokens, hiddenSize]` */
  readonly #values: Float32Array;
  readonly #width: number;
  readonly #tokens: number;

  /** Lays the rows over `buffer`, which has `byteLength` bytes from `offset`. */
  constructor(
    model: Model,
    limits: BatchLimits,
    buffer?: ArrayBufferLike,
    offset = 0,
  ) {
    const bytes = FfnInputs.byteLength(model, limits);
    const memory = buffer ?? new ArrayBuffer(bytes);
    this.#values = new Float32Array(memory, offset, bytes / 4);
    this.#width = model.hiddenSize;
    this.#tokens = limits.tokens;
  }

  /** Bytes that the rows of a step take. */
  static byteLength(model: Model, { tokens }: BatchLimits): number {
    return 4 * model.layers.length * tokens * model.hiddenSize;
  }

  /** What a layer read for token t of the step, `[hiddenSize]`. */
  row(layer: number, t: number): Float32Array {
    const first = (layer * this.#tokens + t) * this.#width;
    return this.#values.subarray(first, first + this.#width);
  }
}
