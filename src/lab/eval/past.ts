/**
 * Pasts that several texts share, evaluated once.
 *
 * @module
 */
import type { Engine } from "../../engine/engine.ts";
import { logSoftmaxAt } from "../../sampling/mod.ts";
import { argmax } from "../../sampling/logprobs.ts";
import type { Sequence } from "../../engine/sequence.ts";
import type { ScoredIds } from "./prompt.ts";

/** Evaluated ids, which other texts begin with too. */
export class Past implements Disposable {
  private constructor(
    readonly engine: Engine,
    readonly ids: readonly number[],
    readonly sequence: Sequence,
    readonly signal: AbortSignal | undefined,
  ) {}

  /** Nothing. */
  static empty(engine: Engine, signal?: AbortSignal): Past {
    return new Past(engine, [], engine.createSequence(), signal);
  }

  /**
   * The past `ids`, of which what this past has in common with them is taken
   * over.
   */
  async goingOnTo(ids: readonly number[]): Promise<Past> {
    const { engine, signal } = this;
    const shared = commonLength([this.ids, ids]);
    const sequence = this.sequence.fork();
    try {
      sequence.truncate(shared);
      if (shared < ids.length) {
        await engine.evaluate(sequence, ids.slice(shared), "none", signal);
      }
    } catch (error) {
      sequence.drop();
      throw error;
    }
    return new Past(engine, ids, sequence, signal);
  }

  /** Gives its memory back. */
  [Symbol.dispose](): void {
    this.sequence.drop();
  }
}

/** How likely a continuation is after its context. */
export interface Likelihood {
  /** Sum of the log-probabilities of its tokens, in nats */
  readonly logprob: number;
  /** Whether each of its tokens was the likeliest */
  readonly greedy: boolean;
}

/**
 * How likely each of some texts' continuations are. What the texts begin with
 * in common is evaluated once, after what they have in common with `past`.
 */
export async function likelihoods(
  past: Past,
  texts: readonly ScoredIds[],
): Promise<Likelihood[]> {
  // The token before a continuation is left, for its logits are wanted.
  const most = Math.min(...texts.map(({ from }) => from - 1));
  const shared = commonLength(texts.map(({ ids }) => ids.slice(0, most)));
  using start = await past.goingOnTo(texts[0].ids.slice(0, shared));
  return await Promise.all(texts.map((text) => likelihood(start, text)));
}

async function likelihood(
  { engine, ids: before, sequence: start, signal }: Past,
  { ids, from }: ScoredIds,
): Promise<Likelihood> {
  using sequence = start.fork();
  const context = ids.slice(before.length, from - 1);
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
export function commonLength(lists: readonly (readonly number[])[]): number {
  const shortest = Math.min(...lists.map(({ length }) => length));
  let common = 0;
  while (
    common < shortest && lists.every((ids) => ids[common] === lists[0][common])
  ) common++;
  return common;
}
