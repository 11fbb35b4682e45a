import type { Engine } from "../../engine/engine.ts";
import type { Sequence } from "../../engine/sequence.ts";
import { argmax, logSoftmaxAt } from "../../sampling/logprobs.ts";
import type { ScoredIds } from "./prompt.ts";

/** How likely a continuation is after its context. */
export interface Likelihood {
  /** Sum of the log-probabilities of its tokens, in nats */
  readonly logprob: number;
  /** Whether each of its tokens was the likeliest */
  readonly greedy: boolean;
}

/**
 * How likely each of some texts' continuations are. What the texts begin with
 * in common is evaluated once.
 */
export async function likelihoods(
  engine: Engine,
  texts: readonly ScoredIds[],
  signal?: AbortSignal,
): Promise<Likelihood[]> {
  // The token before a continuation is left, for its logits are wanted.
  const most = Math.min(...texts.map(({ from }) => from - 1));
  const shared = commonLength(texts.map(({ ids }) => ids.slice(0, most)));
  const common = texts[0].ids.slice(0, shared);
  using start = await engine.startSequence(common, { signal });
  return await Promise.all(
    texts.map((text) => likelihood(engine, start, text, signal)),
  );
}

async function likelihood(
  engine: Engine,
  start: Sequence,
  { ids, from }: ScoredIds,
  signal: AbortSignal | undefined,
): Promise<Likelihood> {
  using sequence = start.fork();
  const context = ids.slice(start.length, from - 1);
  const evaluated = context.length > 0
    ? engine.evaluate(sequence, context, "none", signal)
    : undefined;
  const [rows] = await Promise.all([
    engine.evaluate(sequence, ids.slice(from - 1, -1), "all", signal),
    evaluated,
  ]);
  let logprob = 0, greedy = true;
  rows.forEach((logits, i) => {
    logprob += logSoftmaxAt(logits, ids[from + i]);
    greedy &&= argmax(logits) === ids[from + i];
  });
  return { logprob, greedy };
}

/** How many ids all of the lists begin with. */
function commonLength(lists: readonly (readonly number[])[]): number {
  const shortest = Math.min(...lists.map(({ length }) => length));
  let common = 0;
  while (
    common < shortest && lists.every((ids) => ids[common] === lists[0][common])
  ) common++;
  return common;
}
