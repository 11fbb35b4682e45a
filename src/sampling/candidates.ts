import { UsageError } from "../errors.ts";
import { Order } from "./order.ts";
import type { Logits, TopLogits } from "./logits.ts";
import {
  allows,
  countAllowed,
  forbid,
  listAllowed,
  type TokenMask,
} from "./token_mask.ts";

/** How many of the likeliest ids are ordered at first where a sum of probabilities is looked for. */
const firstGuess = 256;

/** Works on one step's logits; made once, and reused for every token. */
export class Candidates {
  /** [vocabSize], by id: a copy of the step's logits that filters may change; only those of `ids` hold. */
  readonly logits: Float32Array;
  /** [count]: the ids left. */
  readonly ids: Int32Array;
  /** [count], beside `ids`: what {@linkcode softmax} gave last. */
  readonly probabilities: Float64Array;
  /** How many ids are left; at least one. */
  count = 0;

  /** [count], beside `ids`: what they are ordered by. */
  #keys: Float32Array;
  #order = new Order();

  /** Makes room for a vocabulary. */
  constructor(vocabSize: number) {
    this.logits = new Float32Array(vocabSize);
    this.ids = new Int32Array(vocabSize);
    this.probabilities = new Float64Array(vocabSize);
    this.#keys = new Float32Array(vocabSize);
  }

  /** Starts a step with the whole vocabulary, or the largest logits alone: in the order of ids, unless `byId` is false. */
  reset(logits: Logits, byId = true): void {
    if (logits instanceof Float32Array) {
      this.logits.set(logits);
      this.count = logits.length;
      for (let i = 0; i < this.count; i++) this.ids[i] = i;
    } else {
      const { ids } = logits;
      this.count = ids.length;
      this.ids.set(ids);
      if (byId) this.ids.subarray(0, this.count).sort();
      ids.forEach((id, i) => this.logits[id] = logits.logits[i]);
    }
  }

  /**
   * Starts a step with what a mask leaves of the vocabulary: with all of it, in
   * the order of ids, or where it is more than `k`, with the `k` largest logits,
   * the largest first.
   * @param given all logits, or the largest of those that the mask allows, at least `k` or all of them
   * @throws {UsageError} when the mask leaves nothing, or what was picked was not picked under it.
   */
  resetMasked(given: Logits, mask: TokenMask, k = Infinity): void {
    const allowed = countAllowed(mask);
    if (allowed === 0) {
      throw new UsageError("Cannot sample: the mask forbids every token");
    }
    const { ids, logits } = this;
    if (!(given instanceof Float32Array)) {
      this.#takePicked(given, mask, k);
      if (allowed <= k) ids.subarray(0, this.count).sort();
    } else if (allowed > k) this.#takeLargest(given, mask, k);
    else {
      this.count = listAllowed(mask, ids);
      for (let i = 0; i < this.count; i++) logits[ids[i]] = given[ids[i]];
    }
  }

  #takePicked(most: TopLogits, mask: TokenMask, k: number): void {
    const { ids, logits } = this;
    this.count = 0;
    for (const [i, id] of most.ids.entries()) {
      const logit = most.logits[i];
      // Where the mask allows fewer, others fill up.
      if (this.count === k || logit === -Infinity) break;
      if (!allows(mask, id)) {
        throw new UsageError(
          `Cannot sample: token ${id} is among the largest logits, and the mask forbids it`,
        );
      }
      ids[this.count++] = id;
      logits[id] = logit;
    }
  }

  #takeLargest(all: Float32Array, mask: TokenMask, k: number): void {
    const { ids, logits } = this;
    const keys = this.#keys;
    keys.set(all);
    forbid(mask, keys);
    const top = this.#order.top(keys, all.length, k);
    this.count = 0;
    for (const id of top) {
      if (keys[id] === -Infinity && this.count > 0) break;
      ids[this.count++] = id;
      logits[id] = keys[id];
    }
  }

  /** Keeps the ids for which `keep` says so; `index` is into `ids` and `probabilities`. */
  filter(keep: (index: number) => boolean): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (keep(i)) this.ids[kept++] = this.ids[i];
    }
    this.count = kept;
  }

  /** Keeps the `k` largest logits, the largest first. */
  keepTop(k: number): void {
    if (k >= this.count) return;
    for (let i = 0; i < this.count; i++) {
      this.#keys[i] = this.logits[this.ids[i]];
    }
    this.#take(this.#order.top(this.#keys, this.count, k));
  }

  /**
   * Keeps the ids of highest score, highest first, up to the one with which
   * their probabilities sum to `p`. Expects `probabilities` to be filled.
   */
  keepMass(p: number, score: (index: number) => number): void {
    for (let i = 0; i < this.count; i++) this.#keys[i] = score(i);
    for (let k = firstGuess;; k *= 8) {
      const order = this.#order.top(this.#keys, this.count, k);
      const n = this.#massReached(order, p);
      if (n > 0 || order.length === this.count) {
        this.#take(n > 0 ? order.subarray(0, n) : order);
        return;
      }
    }
  }

  /** How many indices, taken in order, have probabilities that sum to `p`; 0 where all have less. */
  #massReached(order: Int32Array, p: number): number {
    let sum = 0;
    for (let i = 0; i < order.length; i++) {
      sum += this.probabilities[order[i]];
      if (sum >= p) return i + 1;
    }
    return 0;
  }

  /** Makes `ids` those at these indices, in their order. */
  #take(indices: Int32Array): void {
    for (let i = 0; i < indices.length; i++) indices[i] = this.ids[indices[i]];
    this.ids.set(indices);
    this.count = indices.length;
  }

  /** The id with the largest logit, the lower of equals. */
  best(): number {
    let best = this.ids[0];
    for (let i = 1; i < this.count; i++) {
      const id = this.ids[i];
      const gain = this.logits[id] - this.logits[best];
      if (gain > 0 || (gain === 0 && id < best)) best = id;
    }
    return best;
  }

  /** Fills `probabilities` with the softmax over the ids left. */
  softmax(): void {
    const max = this.logits[this.best()];
    let sum = 0;
    for (let i = 0; i < this.count; i++) {
      sum += this.probabilities[i] = Math.exp(this.logits[this.ids[i]] - max);
    }
    for (let i = 0; i < this.count; i++) this.probabilities[i] /= sum;
  }
}
