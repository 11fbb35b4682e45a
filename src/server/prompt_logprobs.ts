/** How likely a model finds a prompt, token by token. */
import type { Engine } from "../engine/engine.ts";
import type { Sequence } from "../engine/sequence.ts";
import type { SampledToken } from "../sampling/logprobs.ts";
import { topLogits } from "../sampling/top_logits.ts";

/** A token of a text, and how likely the model found it there. */
export interface ScoredToken {
  readonly id: number;
  /** Natural logarithm of its probability; undefined of the first of a text */
  readonly logprob?: number;
  /** The likeliest tokens at its position */
  readonly topLogprobs?: readonly SampledToken[];
}

/** Logits that wait to be read, in bytes: those of all positions at once may be hundreds of MB. */
const mostBytes = 2 ** 23;

/**
 * Appends all but the last token of a prompt to an empty sequence, and says of
 * each token how likely it was, with the `top` likeliest beside it.
 */
export async function scorePrompt(
  engine: Engine,
  sequence: Sequence,
  prompt: readonly number[],
  vocabSize: number,
  top: number,
  signal: AbortSignal,
): Promise<ScoredToken[]> {
  const scored: ScoredToken[] = [{ id: prompt[0] }];
  const last = prompt.length - 1;
  // Two pieces at a time, which fill a step together.
  const fitting = Math.floor(mostBytes / (4 * vocabSize));
  const size = Math.max(1, Math.min(engine.batchSize >> 1, fitting));
  let before: Promise<Float32Array[]> | undefined;
  const read = async (start: number, rows: Promise<Float32Array[]>) => {
    for (const [i, logits] of (await rows).entries()) {
      scored.push(scoreOf(prompt[start + i + 1], logits, top));
    }
  };
  for (let start = 0; start < last; start += size) {
    const piece = prompt.slice(start, Math.min(start + size, last));
    const rows = engine.evaluate(sequence, piece, "all", signal);
    rows.catch(() => {}); // reported where it is read
    if (before) await read(start - size, before);
    before = rows;
  }
  if (before) await read(Math.floor((last - 1) / size) * size, before);
  return scored;
}

/** `logits`: [vocabSize], before the token. The numbers are those that `topLogprobs` gives. */
function scoreOf(id: number, logits: Float32Array, top: number): ScoredToken {
  const best = topLogits(logits, Math.max(1, top));
  const total = best.logSumExp;
  return {
    id,
    logprob: logits[id] - total,
    topLogprobs: Array.from(
      best.ids.subarray(0, top),
      (id, i) => ({ id, logprob: best.logits[i] - total }),
    ),
  };
}
