/** What an answer took, as llama.cpp's server states it, and which neurons it read. */
import type { Summary } from "../generate/generate.ts";
import { type PlaceStats, totalOf } from "../places/stats.ts";

/** What one answer took; `_n` are numbers of tokens. */
export interface Timings {
  readonly cache_n: number;
  readonly prompt_n: number;
  readonly prompt_ms: number;
  readonly prompt_per_token_ms: number;
  readonly prompt_per_second: number;
  readonly predicted_n: number;
  readonly predicted_ms: number;
  readonly predicted_per_token_ms: number;
  readonly predicted_per_second: number;
  /** Tokens that were drafted, and those of them that were right; only where there were some */
  readonly draft_n?: number;
  readonly draft_n_accepted?: number;
  /** Neurons all of whose rows were read, all tokens and layers together, and those with rows that were spared */
  readonly neurons_read: number;
  readonly neurons_skipped: number;
}

/** What an answer took. */
export function timingsOf(summary: Summary): Timings {
  const { cachedTokens, completionTokens, completionMs, promptMs } = summary;
  const { draftedTokens, acceptedTokens } = summary;
  const evaluated = summary.promptTokens - cachedTokens;
  // The first token comes out of the prompt's evaluation.
  const decoded = Math.max(0, completionTokens - 1);
  const neurons = [
    neuronsOf(summary.promptStats),
    neuronsOf(summary.completionStats),
  ];
  const sum = (name: "read" | "skipped") =>
    Math.round(neurons.reduce((total, each) => total + each[name], 0));
  return {
    cache_n: cachedTokens,
    prompt_n: evaluated,
    prompt_ms: promptMs,
    prompt_per_token_ms: ratio(promptMs, evaluated),
    prompt_per_second: ratio(1000 * evaluated, promptMs),
    predicted_n: completionTokens,
    predicted_ms: completionMs,
    predicted_per_token_ms: ratio(completionMs, decoded),
    predicted_per_second: ratio(1000 * decoded, completionMs),
    ...draftedTokens > 0 && {
      draft_n: draftedTokens,
      draft_n_accepted: acceptedTokens,
    },
    neurons_read: sum("read"),
    neurons_skipped: sum("skipped"),
  };
}

/** The neurons whose rows were read, and the others. */
function neuronsOf(stats: PlaceStats): { read: number; skipped: number } {
  const read = Math.min(totalOf(stats, "upRows"), totalOf(stats, "downRows"));
  return { read, skipped: totalOf(stats, "neurons") - read };
}

/** Nothing, where there was nothing: JSON has no NaN. */
function ratio(amount: number, of: number): number {
  return of > 0 ? amount / of : 0;
}
