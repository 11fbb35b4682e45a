/**
 * Norms over what all heads, or neurons, of a layer compute. Where others have
 * some of them, squares come back from the device and are handed over.
 */
import { lengthOf, type Range } from "../../../model/index_set.ts";
import type { Batch } from "../../batch.ts";
import type { PlaceContext } from "./context.ts";
import type { Read } from "./head.ts";
import { Norm, type NormOptions, type Segments } from "./norm.ts";

/** The place's own among numbers that are normed as one. */
export interface Share extends Segments {
  /** Numbers whose squares are handed over as one sum */
  readonly unit: number;
  /** Where the sums of all places lie in a row of them, and where the place's sum number `i` does */
  readonly columns: Range;
  readonly columnOf: (i: number) => number;
}

export class SharedNorm {
  readonly #norm: Norm;
  /** Where 1 / rms goes; nowhere where the device has all of it */
  readonly #scales?: GPUBuffer;

  constructor(
    readonly context: PlaceContext,
    readonly options:
      & Pick<NormOptions, "x" | "weight">
      & { readonly shares: readonly [Share, Share?] },
  ) {
    const { normEpsilon: epsilon } = context.options.model;
    const isWhole = this.#shares.every(({ size, unit, columns }) =>
      size === unit * lengthOf(columns)
    );
    this.#scales = isWhole ? undefined : context.scales;
    this.#norm = new Norm(context, {
      ...options,
      segments: options.shares,
      epsilon,
      scales: this.#scales,
    });
  }

  /** Writes the sums of squares to their columns of `rows`, `[tokens, stride]`, where others need them. */
  put(batch: Batch, rows: Float32Array, read: Read): void | Promise<void> {
    if (!this.#scales) return;
    const { length } = batch;
    const { buffer, stride } = this.options.x;
    return read({ buffer, bytes: 4 * length * stride }, (bytes) => {
      for (let t = 0; t < length; t++) {
        const own = new Float32Array(bytes, 4 * t * stride, stride);
        const first = t * rows.length / length;
        for (const { first: start, size, unit, columnOf } of this.#shares) {
          for (let i = 0; i < size / unit; i++) {
            let sum = 0;
            for (let j = 0; j < unit; j++) {
              sum += own[start + i * unit + j] ** 2;
            }
            rows[first + columnOf(i)] = sum;
          }
        }
      }
    });
  }

  /** Norms by the sums of all places. */
  take(batch: Batch, rows: Float32Array): void {
    const { length } = batch;
    if (this.#scales) {
      const scales = new Float32Array(2 * length);
      for (let t = 0; t < length; t++) {
        this.#shares.forEach((share, kind) =>
          scales[2 * t + kind] = this.#scaleOf(
            share,
            rows.subarray(t * rows.length / length),
          )
        );
      }
      const { commands } = this.context;
      commands.write(this.#scales, scales.buffer, scales.byteLength);
    }
    this.#norm.encode(length);
  }

  get #shares(): Share[] {
    return this.options.shares.filter((share) => share !== undefined);
  }

  /** 1 / rms, by a token's sums. */
  #scaleOf({ unit, columns }: Share, sums: Float32Array): number {
    let sum = 0;
    for (let i = columns.start; i < columns.end; i++) sum += sums[i];
    const mean = sum / (unit * lengthOf(columns));
    return 1 / Math.sqrt(mean + this.context.options.model.normEpsilon);
  }
}
