/** Logits of a text, as log-probabilities and choices. */
import type { LanguageModel } from "../../mod.ts";

export function mean(values: number[]): number {
  return values.reduce((a, b) => a + b) / values.length;
}

export function argmax(logits: Float32Array): number {
  return logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
}

/** Natural-log softmax. */
function logSoftmax(logits: Float32Array): (id: number) => number {
  const max = logits[argmax(logits)];
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  return (id) => logits[id] - max - Math.log(sum);
}

/** Logits after each of `ids`, in a sequence of their own. */
export async function allLogits(
  model: LanguageModel,
  ids: number[],
): Promise<Float32Array[]> {
  using sequence = model.engine.createSequence();
  return await model.engine.evaluate(sequence, ids, "all");
}

/** Of each id but the first, given those before it. */
export async function nextLogprobs(
  { engine }: LanguageModel,
  ids: readonly number[],
): Promise<number[]> {
  using sequence = engine.createSequence();
  const logprobs: number[] = [];
  // In pieces, because the logits of all positions at once are hundreds of MB.
  for (let start = 0; start < ids.length - 1; start += 128) {
    const piece = ids.slice(start, Math.min(start + 128, ids.length - 1));
    const logits = await engine.evaluate(sequence, piece, "all");
    logits.forEach((row, i) =>
      logprobs.push(logSoftmax(row)(ids[start + i + 1]))
    );
  }
  return logprobs;
}
