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

  #terms: Float32Array[] = [];

  /** `failAt`: the call of `project` that loses the device */
  constructor(readonly place: ReferencePlace, public failAt = Infinity) {}

  get counts() {
    return this.place.counts;
  }
  reserve(pages: number): number {
    return this.place.reserve(pages);
  }
  readPage(layer: number, page: number, rows: Uint8Array): void {
    this.place.readPage(layer, page, rows);
  }
  writePage(layer: number, page: number, rows: Uint8Array): void {
    this.place.writePage(layer, page, rows);
  }
  begin(batch: Batch): void {
    this.place.begin(batch);
  }
  embed(batch: Batch): void {
    this.place.embed(batch);
    this.#add();
  }
  project(layer: number, batch: Batch): void {
    if (--this.failAt <= 0) throw new GpuError("GPU lost: by the test");
    this.#settle();
    this.place.project(layer, batch);
  }
  attention(layer: number, batch: Batch): void {
    this.place.attention(layer, batch);
  }
  attentionOutput(layer: number, batch: Batch): void {
    this.place.attentionOutput(layer, batch);
    this.#add();
  }
  route(layer: number, batch: Batch): void {
    this.#settle();
    this.place.route(layer, batch);
  }
  takeChoices(_layer: number, batch: Batch, choices: Uint32Array): void {
    this.place.takeChoices(batch, choices);
  }
  ffnActivations(layer: number, batch: Batch): void {
    this.#settle();
    this.place.ffnActivations(layer, batch);
  }
  putSquares(...args: Parameters<ReferencePlace["putSquares"]>): void {
    this.place.putSquares(...args);
  }
  takeSquares(...args: Parameters<ReferencePlace["takeSquares"]>): void {
    this.place.takeSquares(...args);
  }
  down(layer: number, batch: Batch): void {
    this.place.down(layer, batch);
    this.#add();
  }
  head(batch: Batch): void {
    this.#settle();
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
    this.#settle();
    return Promise.resolve(this.place.residual(batch));
  }
  setResidual(residual: Float32Array, batch: Batch): void {
    this.handed.up++;
    this.#terms = [];
    this.place.setResidual(residual, batch);
  }
  addToResidual(sum: Float32Array): void {
    this.handed.sums++;
    this.#terms.push(sum);
    this.#settle();
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
  /** What it computed waits for what the CPU's places may have computed of the same stage: both are normed as one. */
  #add(): void {
    this.#terms = this.place.terms();
  }
  #settle(): void {
    if (this.#terms.length > 0) this.place.accumulate(this.#terms);
    this.#terms = [];
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
