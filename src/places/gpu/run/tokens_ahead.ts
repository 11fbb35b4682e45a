/**
 * Greedy tokens that are computed before they are asked for. Where all of a step
 * runs on the device, and its token is the likeliest of the step before, its own
 * likeliest goes on the device to a step behind it, and so on: they are submitted
 * while the first one is computed, and one read-back brings the results of all.
 * Steps that then ask for them are given what is there. Where another token
 * comes, or another sequence, the rest is dropped, and what the cache has of
 * those positions is written anew.
 */
import { Batch, pagePositions, pagesFor } from "../../batch.ts";
import { topLogitsRowLength, unpackTopLogits } from "../../top_logits_row.ts";
import { stepWords as word } from "../kernels/step_words.ts";
import { aheadTokens } from "../memory/layout.ts";
import type { PlaceContext } from "./context.ts";
import type { Region } from "./read_back.ts";

/** What a token's step gives: its likeliest token, and the figures counted until then. */
export interface Result {
  readonly row: Float32Array;
  readonly figures: Uint32Array;
}

/** A step of one token, as far as what it gives depends on that. */
interface Next {
  readonly token: number;
  readonly position: number;
  readonly modeValue: number;
  readonly pages: Int32Array;
}

const rowLength = topLogitsRowLength(1);

export class TokensAhead {
  readonly #results: GPUBuffer;
  readonly #batch: Batch;
  /** Of the steps that are computed and were not asked for */
  #waiting: Result[] = [];
  /** The step that goes on from the last one */
  #next?: Next;

  constructor(readonly context: PlaceContext) {
    const { buffers, layout: { bytes }, options } = context;
    const { limits, model: { layers } } = options;
    const { COPY_SRC, COPY_DST } = GPUBufferUsage;
    const usage = COPY_SRC | COPY_DST;
    this.#results = buffers.make("tokens ahead", bytes.ahead, usage);
    const own = { ...limits, tokens: 1 };
    const model = { vocabSize: 0, layers };
    this.#batch = new Batch(
      own,
      model,
      new ArrayBuffer(Batch.byteLength(own, model)),
    );
  }

  /** The result of a step that is there; where it is another than the next, `drop` is given the last figures of those that are. */
  take(batch: Batch, drop: (figures: Uint32Array) => void): Result | undefined {
    const isNext = this.#isNext(batch);
    const result = isNext ? this.#waiting.shift() : undefined;
    if (result) this.note(batch, result.row);
    else if (!isNext) this.drop(drop);
    return result;
  }

  /** Forgets what is there: something else goes on. */
  drop(drop: (figures: Uint32Array) => void): void {
    const last = this.#waiting.at(-1);
    if (last) drop(last.figures);
    this.#waiting = [];
    this.#next = undefined;
  }

  /** Notes the result of a step. */
  note(batch: Batch, row: Float32Array): void {
    this.#next = isGreedy(batch) && row.length === rowLength
      ? {
        token: unpackTopLogits(row).ids[0],
        position: batch.positions[0] + 1,
        modeValue: shareOf(batch),
        pages: pagesOf(batch),
      }
      : undefined;
  }

  /** How many steps can follow one that goes on from the last, and has `isLike` ones behind it. */
  countBehind(batch: Batch, isLike: (behind: Batch) => boolean): number {
    if (!this.#isNext(batch)) return 0;
    const left = pagePositions - batch.positions[0] % pagePositions;
    const most = Math.min(aheadTokens, left) - 1;
    let count = 0;
    while (count < most && isLike(this.#behind(batch, count + 1))) count++;
    return count;
  }

  /** Runs a step that is encoded, whose likeliest token goes to `top`, and `count` behind it; gives where the results of all are then. `upload` uploads a step. */
  run(
    batch: Batch,
    count: number,
    top: GPUBuffer,
    upload: (behind: Batch) => void,
  ): Region {
    const { commands, step } = this.context;
    const kernels = commands.dispatches;
    this.#keep(0, top);
    for (let i = 1; i <= count; i++) {
      upload(this.#behind(batch, i));
      const id = 4 * (word.header_words + word.record_id);
      commands.copy(top, 4 * (rowLength - 1), step, id, 4);
      for (const { pipeline, group, grid } of kernels) {
        commands.dispatch(pipeline, group, grid);
      }
      this.#keep(i, top);
    }
    return { buffer: this.#results, bytes: (1 + count) * this.#slotBytes };
  }

  /** Takes what was read of the results; gives the first. */
  results(batch: Batch, bytes: ArrayBuffer, region: Region): Result {
    const [first, ...others] = Array.from(
      { length: region.bytes / this.#slotBytes },
      (_, i) => {
        const at = i * this.#slotBytes, row = 4 * rowLength;
        return {
          row: new Float32Array(bytes.slice(at, at + row)),
          figures: new Uint32Array(bytes.slice(at + row, at + this.#slotBytes)),
        };
      },
    );
    this.#waiting = others;
    this.note(batch, first.row);
    return first;
  }

  get #slotBytes(): number {
    return 4 * rowLength + this.context.counters.size;
  }

  #keep(slot: number, top: GPUBuffer): void {
    const { commands, counters } = this.context;
    const at = slot * this.#slotBytes, row = 4 * rowLength;
    commands.copy(top, 0, this.#results, at, row);
    commands.copy(counters, 0, this.#results, at + row, counters.size);
  }

  #isNext(batch: Batch): boolean {
    const next = this.#next;
    return next !== undefined && isGreedy(batch) &&
      batch.tokens[0] === next.token && batch.positions[0] === next.position &&
      Object.is(shareOf(batch), next.modeValue) &&
      next.pages.every((page, i) => page === pagesOf(batch)[i]);
  }

  /** The step `count` behind one. */
  #behind(batch: Batch, count: number): Batch {
    const behind = this.#batch;
    behind.length = behind.top = behind.wantLogits[0] = 1;
    behind.copyCount = 0;
    behind.positions[0] = batch.positions[0] + count;
    behind.setModeValue(0, shareOf(batch));
    behind.pages.set(pagesOf(batch));
    return behind;
  }
}

/** The share of neurons that its token keeps, in all layers; NaN where that is the mode's. */
function shareOf(batch: Batch): number {
  return batch.modeValueOf(0, 0, NaN);
}

/** Whether a step has one token and wants the likeliest next. */
function isGreedy(batch: Batch): boolean {
  return batch.length === 1 && batch.top === 1 && batch.wantLogits[0] === 1 &&
    batch.copyCount === 0;
}

/** The pages of a step's only sequence. */
function pagesOf({ pages, positions, sequences, pagesPerSequence }: Batch) {
  const first = sequences[0] * pagesPerSequence;
  return pages.slice(first, first + pagesFor(positions[0] + 1));
}
