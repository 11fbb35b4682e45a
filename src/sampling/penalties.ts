import type { Filter } from "./filters.ts";
import type { CheckedSamplingOptions } from "./options.ts";

/** Where the last `n` entries begin; -1 means all of them. */
function windowStart(length: number, n: number): number {
  return n < 0 ? 0 : Math.max(0, length - n);
}

/** The lowest finite f32: penalties make a token unlikely, and forbid none. */
const lowest = -(2 - 2 ** -23) * 2 ** 127;

/** Lowers the logits of the tokens among the last ones of the history, as llama.cpp does. */
export function penalties(
  { repeatLastN, repeatPenalty, presencePenalty, frequencyPenalty }: Pick<
    CheckedSamplingOptions,
    "repeatLastN" | "repeatPenalty" | "presencePenalty" | "frequencyPenalty"
  >,
  vocabSize: number,
): Filter {
  /** [vocabSize]: occurrences in the window; all zero between calls. */
  const counts = new Uint32Array(vocabSize);
  return ({ logits }, history) => {
    const start = windowStart(history.length, repeatLastN);
    for (let i = start; i < history.length; i++) counts[history[i]]++;
    for (let i = start; i < history.length; i++) {
      const id = history[i];
      const count = counts[id];
      if (!count) continue;
      counts[id] = 0;
      const logit = logits[id];
      if (logit === -Infinity) continue;
      const scaled = logit > 0 ? logit / repeatPenalty : logit * repeatPenalty;
      logits[id] = Math.max(
        lowest,
        scaled - count * frequencyPenalty - presencePenalty,
      );
    }
  };
}

type DryOptions = Pick<
  CheckedSamplingOptions,
  Extract<keyof CheckedSamplingOptions, `dry${string}`>
>;

/**
 * "Don't repeat yourself": a token that would lengthen a repeat of L tokens, L
 * at least the allowed length, loses multiplier · base^(L - allowed).
 */
export function dry(
  options: DryOptions,
  vocabSize: number,
): Filter {
  const { dryMultiplier, dryBase, dryAllowedLength, dryBreakers } = options;
  // Past this exponent the penalty would leave f32's range, and turn differences into NaN.
  const maxExponent = dryBase > 1
    ? Math.log(1e38 / Math.max(1, dryMultiplier)) / Math.log(dryBase)
    : Infinity;
  /** [vocabSize]: the longest repeat that each token would lengthen; all zero between calls. */
  const longest = new Uint32Array(vocabSize);
  let matches = new Uint32Array(0);
  return ({ logits }, history) => {
    const start = windowStart(history.length, options.dryPenaltyLastN);
    const length = history.length - start;
    let limit = 0;
    while (
      limit < length && !dryBreakers.has(history[history.length - 1 - limit])
    ) limit++;
    if (limit < dryAllowedLength || length < 2) return;

    if (matches.length < length) matches = new Uint32Array(2 * length);
    suffixMatches(history, start, matches);
    for (let back = 1; back < length; back++) {
      const repeat = Math.min(matches[back], limit);
      const next = history[history.length - back];
      if (
        repeat >= dryAllowedLength && repeat > longest[next] &&
        !dryBreakers.has(next)
      ) {
        longest[next] = repeat;
      }
    }
    for (let back = 1; back < length; back++) {
      const next = history[history.length - back];
      const repeat = longest[next];
      if (!repeat) continue;
      longest[next] = 0;
      if (logits[next] === -Infinity) continue;
      const penalty = dryMultiplier *
        dryBase ** Math.min(repeat - dryAllowedLength, maxExponent);
      logits[next] = Math.max(lowest, logits[next] - penalty);
    }
  };
}

/**
 * Fills `matches[back]`, for each back from 1, with how many tokens before the
 * last `back` ones equal the history's own last tokens: the Z algorithm
 * (Gusfield, 1997) on the reversed window, in linear time.
 */
function suffixMatches(
  history: readonly number[],
  start: number,
  matches: Uint32Array,
): void {
  const last = history.length - 1;
  const length = history.length - start;
  // [left, right) is the match that reaches furthest, in places counted from the end.
  let left = 0;
  let right = 0;
  for (let back = 1; back < length; back++) {
    let n = back < right ? Math.min(matches[back - left], right - back) : 0;
    while (
      back + n < length && history[last - n] === history[last - back - n]
    ) n++;
    matches[back] = n;
    if (back + n > right) {
      left = back;
      right = back + n;
    }
  }
}

/**
 * The ids of the tokens whose text contains one of these strings, as DRY's
 * sequence breakers are usually given.
 * @param pieceText the text of a token
 */
export function tokensContaining(
  strings: readonly string[],
  vocabSize: number,
  pieceText: (id: number) => string,
): number[] {
  return [...Array(vocabSize).keys()].filter((id) => {
    const text = pieceText(id);
    return strings.some((string) => text.includes(string));
  });
}
