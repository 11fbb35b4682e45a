/**
 * Log-probabilities: the natural logarithm of the softmax of the logits as the
 * model gave them, computed in f64.
 *
 * @module
 */

import { PlaceError, UsageError } from "../errors.ts";
import { Order } from "./order.ts";

/** A token and how likely the model found it. */
export interface SampledToken {
  /** The token. */
  id: number;
  /** Natural logarithm of its probability under the unmodified logits. */
  logprob: number;
}

/**
 * The index of the largest logit, the lower of equals.
 * @throws {PlaceError} when a logit is NaN or +Infinity, or all are -Infinity.
 */
export function argmax(logits: Float32Array): number {
  let best = -1;
  let max = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i];
    if (value > max) {
      max = value;
      best = i;
    } else if (value !== value) throw notANumber(logits, i);
  }
  if (max === Infinity) throw notANumber(logits, best);
  if (best < 0) {
    throw new PlaceError(
      `Cannot sample: all ${logits.length} logits are -Infinity`,
    );
  }
  return best;
}

function notANumber(logits: Float32Array, index: number): PlaceError {
  return new PlaceError(
    `Cannot sample: the logit of token ${index} of ${logits.length} is ${
      logits[index]
    }`,
  );
}

/**
 * log Σ exp(logits), what a logit lacks to be a log-probability.
 * @throws {PlaceError} as {@linkcode argmax} does.
 */
export function logSumExp(logits: Float32Array): number {
  const max = logits[argmax(logits)];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - max);
  return max + Math.log(sum);
}

/**
 * The log-probability of one token.
 * @param logits [vocabSize]
 * @throws {UsageError} when `id` is not in the vocabulary; {@linkcode PlaceError} as {@linkcode argmax} does.
 */
export function logSoftmaxAt(logits: Float32Array, id: number): number {
  if (!Number.isInteger(id) || id < 0 || id >= logits.length) {
    throw new UsageError(
      `Cannot give the logprob of token ${id}: the vocabulary has ids 0 to ${
        logits.length - 1
      }`,
    );
  }
  return logits[id] - logSumExp(logits);
}

const order = new Order();

/**
 * The `n` likeliest tokens, likeliest first and the lower id first among
 * equals; all of them where the vocabulary has fewer. The numbers are the very
 * doubles that {@linkcode logSoftmaxAt} gives.
 * @param logits [vocabSize]
 * @throws {PlaceError} as {@linkcode argmax} does.
 */
export function topLogprobs(logits: Float32Array, n: number): SampledToken[] {
  if (!(n > 0)) return [];
  const total = logSumExp(logits);
  return Array.from(
    order.top(logits, logits.length, Math.floor(n)),
    (id) => ({ id, logprob: logits[id] - total }),
  );
}
