/**
 * What is uploaded for a step. `shaders/step.wgsl` reads it.
 *
 * @module
 */
import { ropeAngles } from "../../../model/rope.ts";
import { type Batch, type BatchLimits, pagesFor } from "../../batch.ts";
import type { Commands } from "../device/commands.ts";

const headerWords = 8;
/** Bytes of the header. */
export const headerBytes = 4 * headerWords;
/** Words of a token's record before its angles */
const recordWords = 4;

/** The most bytes that a step of these limits takes. */
export function stepBytes(limits: BatchLimits, ropeSize: number): number {
  const pages = pagesFor(limits.contextSize);
  return 4 * (headerWords + limits.tokens * (recordWords + ropeSize + pages));
}

/** Bytes that a step uploads: a header, records, and the pages that each sequence has reached. */
export function uploadedBytes(batch: Batch, ropeSize: number): number {
  let pages = 0;
  for (const positions of reached(batch).values()) pages += pagesFor(positions);
  return 4 *
    (headerWords + batch.length * (recordWords + ropeSize) + pages);
}

/** How many positions each sequence of a batch has when the step is done. */
function reached(batch: Batch): Map<number, number> {
  const counts = new Map<number, number>();
  for (let t = 0; t < batch.length; t++) {
    const sequence = batch.sequences[t];
    const count = batch.positions[t] + 1;
    counts.set(sequence, Math.max(counts.get(sequence) ?? 0, count));
  }
  return counts;
}

/** How a step is computed, beside its batch. */
export interface StepHeader {
  /** Logits that are computed first */
  readonly wanted: number;
  /** Logits of each row that are handed over; 0 = all */
  readonly picked: number;
  /** Stretches that the neurons of a down are cut into */
  readonly stretches: number;
  /** Workgroups that share a head's positions */
  readonly splits: number;
}

/** The step's buffer on the device, and its copy here. */
export class Step {
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #floats: Float32Array;

  constructor(
    readonly buffer: GPUBuffer,
    readonly frequencies: Float64Array,
  ) {
    this.#words = new Uint32Array(buffer.size / 4);
    this.#floats = new Float32Array(this.#words.buffer);
  }

  /** Uploads a batch. */
  upload(commands: Commands, batch: Batch, header: StepHeader): void {
    const { wanted, stretches, picked, splits } = header;
    const words = this.#words;
    const n = batch.length;
    const record = recordWords + 2 * this.frequencies.length;
    words.set([n, 0, wanted, stretches, record, picked, splits]);
    const { starts, end } = this.#putPages(batch, headerWords + n * record);
    let wantedSoFar = 0;
    for (let t = 0; t < n; t++) {
      const at = headerWords + t * record;
      words[at] = batch.tokens[t];
      words[at + 1] = batch.positions[t];
      words[at + 3] = starts.get(batch.sequences[t])!;
      if (batch.wantLogits[t]) {
        words[headerWords + wantedSoFar++ * record + 2] = t;
      }
      ropeAngles(
        this.frequencies,
        batch.positions[t],
        this.#floats.subarray(at + recordWords, at + record),
      );
    }
    commands.write(this.buffer, words.buffer, 4 * end);
  }

  /** Says which of the wanted logits are computed next. */
  want(commands: Commands, first: number, count: number): void {
    this.#words[1] = first;
    this.#words[2] = count;
    commands.write(this.buffer, this.#words.buffer, headerBytes);
  }

  /** Lists each sequence's pages from word `first` on; tells where each list begins, and the last one ends. */
  #putPages(
    batch: Batch,
    first: number,
  ): { starts: Map<number, number>; end: number } {
    const starts = new Map<number, number>();
    let end = first;
    for (const [sequence, positions] of reached(batch)) {
      starts.set(sequence, end);
      const row = sequence * batch.pagesPerSequence;
      const count = pagesFor(positions);
      this.#words.set(batch.pages.subarray(row, row + count), end);
      end += count;
    }
    return { starts, end };
  }
}
