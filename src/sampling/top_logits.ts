import { allForbidden, argmax, logSumExp, notANumber } from "./logprobs.ts";
import type { TopLogits } from "./logits.ts";
import { Order } from "./order.ts";

const order = new Order();

/**
 * The `k` largest logits, all where there are fewer. Their sum is computed when
 * it is read, and `logits` is kept until then.
 * @param logits [vocabSize]
 * @throws {PlaceError} when a logit is NaN or +Infinity, or all are -Infinity.
 */
export function topLogits(logits: Float32Array, k: number): TopLogits {
  argmax(logits);
  const ids = order.top(logits, logits.length, k).slice();
  let sum: number | undefined;
  return {
    ids,
    logits: Float32Array.from(ids, (id) => logits[id]),
    get logSumExp() {
      return sum ??= logSumExp(logits);
    },
  };
}

/**
 * Refuses largest logits that a place picked where they are no numbers: what is
 * NaN comes first among them.
 * @throws {PlaceError} when a logit is NaN or +Infinity, or all are -Infinity.
 */
export function checkTopLogits(
  { ids, logits }: TopLogits,
  vocabSize: number,
): void {
  if (logits[0] === -Infinity) throw allForbidden(vocabSize);
  if (!Number.isFinite(logits[0])) {
    throw notANumber(logits[0], ids[0], vocabSize);
  }
}
