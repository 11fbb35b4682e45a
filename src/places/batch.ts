/** The tokens of one step: any mix of sequences, each with its own position. */
import type { Model } from "../model/model.ts";
import { maskWords, type TokenMask } from "../sampling/token_mask.ts";

/** How many positions a page of the KV cache holds. */
export const pagePositions = 32;

/** How many pages hold so many positions. */
export function pagesFor(positions: number): number {
  return Math.ceil(positions / pagePositions);
}

/** A mask in a batch, of which a step wants the largest logits that it allows. */
const maskState = { none: 0, awaited: 1, there: 2 } as const;

/** Sizes that a batch's buffers are made for. */
export interface BatchLimits {
  /** The most tokens in one step. */
  readonly tokens: number;
  /** The most positions of one sequence. */
  readonly contextSize: number;
}

/** What of a model sizes a batch. */
export type BatchModel = Pick<Model, "vocabSize" | "layers">;

/** What the sparsity mode takes in place of its own number: one for all layers, or one each. */
export type ModeValue = number | readonly number[];

/**
 * Tokens to run in one step. The views have the length of the limits; the
 * first `length` entries hold. All lie in one buffer, which may be shared
 * between threads, so that a step is handed over without a copy.
 */
export class Batch {
  /** Token ids, `[tokens]` */
  readonly tokens: Int32Array;
  /** Position of each token in its sequence, `[tokens]` */
  readonly positions: Int32Array;
  /** Row of `pages` that lists the pages of the token's sequence, `[tokens]` */
  readonly sequences: Int32Array;
  /** 1 where the token's logits are wanted, `[tokens]` */
  readonly wantLogits: Int32Array;
  /** 1 where the token's state behind the output norm is wanted in place of logits, `[tokens]` */
  readonly wantStates: Int32Array;
  /** How many of the largest of the token's logits CPU places give in place of all, `[tokens]`; 0 = all */
  readonly picks: Int32Array;
  /** What the sparsity mode takes for the token in place of its own number, a share or a threshold, `[tokens, layers]`; NaN = its own */
  readonly #modeValues: Float64Array;
  /** Page numbers of each sequence, `[tokens, pagesPerSequence]` */
  readonly pages: Int32Array;
  /** Pairs (from, to) of pages to copy before the step, `[2 · tokens]` */
  readonly copies: Int32Array;
  /** Length of a row of `pages` */
  readonly pagesPerSequence: number;
  readonly #counts: Int32Array;
  /** Of each token, one of `maskState`, `[tokens]` */
  readonly #masked: Int32Array;
  /** Which tokens may follow each, `[tokens, maskWords]` */
  readonly #masks: Uint32Array;
  readonly #maskWords: number;
  /** Masks that this thread has yet to bring, or has brought, in this step */
  #coming: Promise<void>[] = [];
  #steps = 0;

  readonly #layers: number;

  /** Lays the views over `Batch.byteLength(limits, model)` bytes of `buffer`. */
  constructor(
    limits: BatchLimits,
    { vocabSize, layers }: BatchModel,
    buffer: ArrayBufferLike,
    offset = 0,
  ) {
    const { tokens } = limits;
    this.#maskWords = maskWords(vocabSize);
    this.pagesPerSequence = pagesFor(limits.contextSize);
    const next = (length: number): Int32Array => {
      const view = new Int32Array(buffer, offset, length);
      offset += view.byteLength;
      return view;
    };
    this.#counts = next(4);
    this.#layers = layers.length;
    // Where eight bytes begin.
    const modeValues = next(2 * tokens * this.#layers);
    this.#modeValues = new Float64Array(
      buffer,
      modeValues.byteOffset,
      modeValues.length / 2,
    );
    this.tokens = next(tokens);
    this.positions = next(tokens);
    this.sequences = next(tokens);
    this.wantLogits = next(tokens);
    this.wantStates = next(tokens);
    this.picks = next(tokens);
    this.copies = next(2 * tokens);
    this.pages = next(tokens * this.pagesPerSequence);
    this.#masked = next(tokens);
    const masks = next(tokens * this.#maskWords);
    this.#masks = new Uint32Array(buffer, masks.byteOffset, masks.length);
  }

  static byteLength(
    { tokens, contextSize }: BatchLimits,
    { vocabSize, layers }: BatchModel,
  ): number {
    const words = 9 + 2 * layers.length + pagesFor(contextSize) +
      maskWords(vocabSize);
    return 4 * (4 + tokens * words);
  }

  /** What the sparsity mode takes for a token in place of its own number: one for all layers, or one each. */
  setModeValue(token: number, value: ModeValue = NaN): void {
    const first = token * this.#layers;
    if (typeof value === "number") {
      this.#modeValues.fill(value, first, first + this.#layers);
    } else this.#modeValues.set(value, first);
  }

  /** The number that the sparsity mode takes for a token in a layer, where `own` is the mode's. */
  modeValueOf(layer: number, token: number, own: number): number {
    const value = this.#modeValues[token * this.#layers + layer];
    return Number.isNaN(value) ? own : value;
  }

  /** How many tokens this step has. */
  get length(): number {
    return this.#counts[0];
  }
  set length(count: number) {
    this.#counts[0] = count;
  }

  /** How many pages are copied before the step. */
  get copyCount(): number {
    return this.#counts[1];
  }
  set copyCount(count: number) {
    this.#counts[1] = count;
  }

  /** How many of the largest logits are enough for all tokens in place of all; 0 = all. */
  get top(): number {
    return this.#counts[2];
  }
  set top(count: number) {
    this.#counts[2] = count;
  }

  /** Whether some of the largest logits are those that masks allow: places then look whether these are there. */
  get hasMasks(): boolean {
    return this.#counts[3] > 0;
  }

  /** Forgets the masks of the last step. */
  clearMasks(): void {
    this.#steps++;
    this.#coming = [];
    this.#counts[3] = 0;
    this.#masked.fill(maskState.none);
  }

  /** Has the largest logits of a token picked under a mask that comes while the step runs; where it comes late, or never, all are given. */
  awaitMask(token: number, mask: Promise<TokenMask>): void {
    const step = this.#steps;
    this.#counts[3]++;
    this.#masked[token] = maskState.awaited;
    const { awaited, there } = maskState;
    this.#coming.push(mask.then((mask) => {
      if (step !== this.#steps) return;
      this.#maskOf(token).set(mask);
      Atomics.compareExchange(this.#masked, token, awaited, there);
    }, () => {}));
  }

  /** Done when all masks have come, where it is this thread that brings some: one that computes a step has to let it. */
  masksCame(): Promise<unknown> | undefined {
    return this.#coming.length > 0 ? Promise.all(this.#coming) : undefined;
  }

  /** Does without the masks that have not come. One place says so for all, before the head. */
  settleMasks(): void {
    const { awaited, none } = maskState;
    for (let t = 0; t < this.length; t++) {
      const was = Atomics.compareExchange(this.#masked, t, awaited, none);
      if (was === awaited) this.picks[t] = 0;
    }
  }

  /** The masks under which the largest logits are picked: of the rows of logits, as far as any has one. */
  get masksOfRows(): (TokenMask | undefined)[] {
    const rows: (TokenMask | undefined)[] = [];
    if (!this.hasMasks) return rows;
    for (let t = 0; t < this.length; t++) {
      if (!this.wantLogits[t]) continue;
      const isThere = this.#masked[t] === maskState.there;
      rows.push(isThere ? this.#maskOf(t) : undefined);
    }
    return rows;
  }

  #maskOf(token: number): TokenMask {
    const start = token * this.#maskWords;
    return this.#masks.subarray(start, start + this.#maskWords);
  }

  get logitCount(): number {
    return countOf(this.wantLogits, this.length);
  }

  get stateCount(): number {
    return countOf(this.wantStates, this.length);
  }

  /** `picks` of the tokens whose logits are wanted: of the rows of logits. */
  get pickedOfRows(): number[] {
    const rows: number[] = [];
    for (let t = 0; t < this.length; t++) {
      if (this.wantLogits[t]) rows.push(this.picks[t]);
    }
    return rows;
  }

  /** The page that holds `position` of the token's sequence. */
  pageOf(token: number, position: number): number {
    const row = this.sequences[token] * this.pagesPerSequence;
    return this.pages[row + Math.floor(position / pagePositions)];
  }
}

function countOf(flags: Int32Array, length: number): number {
  let count = 0;
  for (let t = 0; t < length; t++) count += flags[t];
  return count;
}

/** Copies `width` numbers of each of `count` rows, whose strides follow from their lengths. */
export function copyRows(
  from: Float32Array,
  to: Float32Array,
  count: number,
  width: number,
): void {
  if (from.length === to.length) return to.set(from);
  const fromStride = from.length / count, toStride = to.length / count;
  for (let t = 0; t < count; t++) {
    const start = t * fromStride;
    to.set(from.subarray(start, start + width), t * toStride);
  }
}
