/** How likely a model finds each of several texts behind a prompt. */
import type { Engine } from "../engine/engine.ts";
import type { Sequence } from "../engine/sequence.ts";
import { logSumExp } from "../sampling/logprobs.ts";
import { allOrNone } from "./all_or_none.ts";

/** A prompt, and what may stand behind it: one text or another. */
export interface Choices {
  readonly prompt: readonly number[];
  /** Tokens of each, one at least */
  readonly choices: readonly (readonly number[])[];
  /** Whether the text ends behind each, by one of the tokens that end texts */
  readonly ends: boolean;
}

/** What was found of several prompts. */
export interface ChoiceScores {
  /** Natural logarithms of the probabilities, prompt by prompt, choice by choice */
  readonly logprobs: readonly (readonly number[])[];
  /** Tokens of all prompts and choices; what prompts begin with alike counts once */
  readonly tokens: number;
  /** Those of them that others had left behind */
  readonly cachedTokens: number;
}

/** Choices that are evaluated at the same time: as many as steps are fast for. */
const together = 8;

/**
 * Scores the choices of several prompts. What all prompts begin with is
 * evaluated once, and each prompt once for all of its choices.
 */
export async function scoreChoices(
  engine: Engine,
  endIds: readonly number[],
  all: readonly Choices[],
  signal: AbortSignal,
): Promise<ChoiceScores> {
  const shared = commonLength(all.map(({ prompt }) => prompt));
  // A prompt gives its logits by a token that is its own.
  const shortest = Math.min(...all.map(({ prompt }) => prompt.length));
  const [{ prompt: first }] = all;
  const past = first.slice(0, Math.max(0, Math.min(shared, shortest - 1)));
  using root = engine.createSequence();
  root.resume(past);
  const cachedTokens = root.length;
  const rest = past.slice(cachedTokens);
  if (rest.length > 0) await engine.evaluate(root, rest, "none", signal);
  const logprobs: number[][] = [];
  let tokens = past.length;
  for (const { prompt, choices, ends } of all) {
    using sequence = root.fork();
    const own = prompt.slice(past.length);
    const [logits] = await engine.evaluate(sequence, own, "last", signal);
    const scores: number[] = [];
    for (let i = 0; i < choices.length; i += together) {
      scores.push(
        ...await allOrNone(
          choices.slice(i, i + together),
          signal,
          (choice, signal) => scoreOf(sequence, logits, choice, ends, signal),
        ),
      );
    }
    logprobs.push(scores);
    tokens += own.length + choices.flat().length;
  }
  return { logprobs, tokens, cachedTokens };

  /** `logits`: [vocabSize], behind `sequence` */
  async function scoreOf(
    sequence: Sequence,
    logits: Float32Array,
    choice: readonly number[],
    ends: boolean,
    signal: AbortSignal,
  ): Promise<number> {
    const behind = ends ? choice : choice.slice(0, -1);
    using own = sequence.fork();
    const rows = behind.length > 0
      ? await engine.evaluate(own, behind, "all", signal)
      : [];
    const each = choice.map((id, i) =>
      logprobOf(i === 0 ? logits : rows[i - 1], [id])
    );
    if (ends) each.push(logprobOf(rows[rows.length - 1], endIds));
    return each.reduce((sum, logprob) => sum + logprob, 0);
  }
}

/** How likely one of these tokens is to come next. */
function logprobOf(logits: Float32Array, ids: readonly number[]): number {
  const these = Float32Array.from(ids, (id) => logits[id]);
  return logSumExp(these) - logSumExp(logits);
}

/** How many tokens all lists begin with. */
export function commonLength(lists: readonly (readonly number[])[]): number {
  const [first, ...others] = lists;
  const end = first.findIndex((id, i) =>
    others.some((other) => other[i] !== id)
  );
  return end < 0 ? first.length : end;
}
