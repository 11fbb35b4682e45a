import { PlaceError, UsageError } from "../errors.ts";
import { Order } from "./order.ts";
import type { Logits } from "./logits.ts";

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
    } else if (value !== value) throw notANumber(value, i, logits.length);
  }
  if (max === Infinity) throw notANumber(max, best, logits.length);
  if (best < 0) throw allForbidden(logits.length);
  return best;
}

/** The error for logits that leave no token. */
export function allForbidden(vocabSize: number): PlaceError {
  return new PlaceError(
    `Cannot sample: all ${vocabSize} logits are -Infinity`,
  );
}

/** The error for a logit that is NaN or infinite. */
export function notANumber(
  logit: number,
  id: number,
  vocabSize: number,
): PlaceError {
  return new PlaceError(
    `Cannot sample: the logit of token ${id} of ${vocabSize} is ${logit}`,
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
 * The log-probability of one token: of the logits as the model gave them,
 * computed in f64.
 * @param logits [vocabSize], or the largest of them
 * @throws {UsageError} when `id` is not in the vocabulary, or not among the largest;
 *   {@linkcode PlaceError} as {@linkcode argmax} does.
 */
export function logSoftmaxAt(logits: Logits, id: number): number {
  if (!(logits instanceof Float32Array)) {
    const index = logits.ids.indexOf(id);
    if (index >= 0) return logits.logits[index] - logits.logSumExp;
    throw new UsageError(
      `Cannot give the logprob of token ${id}: it is not among the ${logits.ids.length} largest`,
    );
  }
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
 * equals; all of them where there are fewer. The numbers are the very doubles
 * that {@linkcode logSoftmaxAt} gives.
 * @param logits [vocabSize], or the largest of them
 * @throws {PlaceError} as {@linkcode argmax} does.
 */
export function topLogprobs(logits: Logits, n: number): SampledToken[] {
  if (!(n > 0)) return [];
  if (!(logits instanceof Float32Array)) {
    return Array.from(
      logits.ids.subarray(0, n),
      (id, i) => ({ id, logprob: logits.logits[i] - logits.logSumExp }),
    );
  }
  const total = logSumExp(logits);
  return Array.from(
    order.top(logits, logits.length, Math.floor(n)),
    (id) => ({ id, logprob: logits[id] - total }),
  );
}
