/**
 * A reference place in the GPU's role: adds what it computes to a residual of
 * its own. Shows what the sides hand one another without a device.
 *
 * @module
 */
import { GpuError } from "../../src/errors.ts";
import type { Batch } from "../../src/places/batch.ts";
import type { GpuStats } from "../../src/places/gpu_stats.ts";
import type { GpuSidePlace } from "../../src/places/place.ts";
import {
  pickedOf,
  topLogitsRowLength,
  unpackTopLogits,
} from "../../src/places/top_logits_row.ts";
import { topLogits } from "../../src/sampling/top_logits.ts";
import type { ReferencePlace } from "../../src/places/reference/reference_place.ts";

/** Wraps a reference place. */
export class ReferenceGpu implements GpuSidePlace {
  /** Residuals that the other side took, and sums that it gave. */
  readonly handed = { down: 0, up: 0, sums: 0 };
  readonly weightBytes = 0;
  readonly stats: GpuStats = {
    name: "reference",
    bytes: 0,
    readBackMs: 0,
    counts: {
      dispatches: 0,
      submits: 0,
      readBacks: 0,
      uploaded: 0,
      downloaded: 0,
    },
  };

  /** `failAt`: the call of `attention` that loses the device */
  constructor(readonly place: ReferencePlace, public failAt = Infinity) {}

  get counts() {
    return this.place.counts;
  }
  reserve(pages: number): number {
    return this.place.reserve(pages);
  }
  begin(batch: Batch): void {
    this.place.begin(batch);
  }
  embed(batch: Batch): void {
    this.place.embed(batch);
    this.#add();
  }
  attention(layer: number, batch: Batch): void {
    if (--this.failAt <= 0) throw new GpuError("GPU lost: by the test");
    this.place.attention(layer, batch);
    this.#add();
  }
  ffnActivations(layer: number, batch: Batch): void {
    this.place.ffnActivations(layer, batch);
  }
  down(layer: number, batch: Batch): void {
    this.place.down(layer, batch);
    this.#add();
  }
  head(batch: Batch): void {
    this.place.head(batch);
  }
  keepAbove(batch: Batch, thresholds: Float32Array): void {
    this.place.keepAbove(batch, thresholds);
  }
  submit(): void {}
  startTrace(): void {}
  mark(): void {}
  endTrace(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
  residual(batch: Batch): Promise<Float32Array> {
    this.handed.down++;
    return Promise.resolve(this.place.residual(batch));
  }
  setResidual(residual: Float32Array, batch: Batch): void {
    this.handed.up++;
    this.place.setResidual(residual, batch);
  }
  addToResidual(sum: Float32Array): void {
    this.handed.sums++;
    this.place.accumulate([sum]);
  }
  neurons(_batch: Batch): Float32Array[] {
    return this.place.neurons();
  }
  logits(batch: Batch): Float32Array[] {
    const rows = this.place.logits();
    const { model, plan } = this.place;
    const picked = pickedOf(batch, model.vocabSize, plan.vocab);
    return picked > 0 ? rows.map((row) => packTop(row, picked)) : rows;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
  #add(): void {
    this.place.accumulate(this.place.terms());
  }
}

/** The row that `unpackTopLogits` reads. */
function packTop(logits: Float32Array, k: number): Float32Array {
  const row = new Float32Array(topLogitsRowLength(k));
  const largest = topLogits(logits, k);
  const into = unpackTopLogits(row);
  row[0] = largest.logSumExp;
  into.logits.set(largest.logits);
  into.ids.set(largest.ids);
  return row;
}
