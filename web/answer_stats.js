/** What an answer took: measured here while it is written, stated by the server at its end. */

/** Measures one answer from its request on. */
export class AnswerClock {
  #start = performance.now();
  #first;
  #pieces = 0;

  /** A piece of the answer has come. */
  count() {
    this.#first ??= performance.now();
    this.#pieces++;
  }

  /** What is known by now; `last` is what came at the end. */
  stats({ usage, timings } = {}) {
    const seconds = (performance.now() - this.#first) / 1000;
    return {
      firstMs: this.#first === undefined
        ? undefined
        : this.#first - this.#start,
      // A piece is a token, but where characters or stop strings held some back.
      tokens: usage?.completion_tokens ?? this.#pieces,
      perSecond: timings?.predicted_per_second ||
        (this.#pieces > 1 ? (this.#pieces - 1) / seconds : undefined),
      contextTokens: usage?.total_tokens,
      cachedTokens: usage?.prompt_tokens_details?.cached_tokens,
      skippedShare: skippedShare(timings),
    };
  }
}

function skippedShare({ neurons_read, neurons_skipped } = {}) {
  const all = neurons_read + neurons_skipped;
  return all > 0 ? neurons_skipped / all : undefined;
}

/** Stats for people. */
export function statsText(stats, contextSize) {
  const { tokens, perSecond, firstMs, contextTokens, skippedShare } = stats;
  const parts = [`${tokens} token${tokens === 1 ? "" : "s"}`];
  if (perSecond) parts.push(`${rounded(perSecond)} tokens/s`);
  if (firstMs !== undefined) {
    parts.push(`first after ${(firstMs / 1000).toFixed(2)} s`);
  }
  if (contextTokens !== undefined) {
    parts.push(
      contextSize
        ? `context ${contextTokens} of ${contextSize} (${
          percent(contextTokens / contextSize)
        })`
        : `context ${contextTokens}`,
    );
  }
  if (skippedShare) parts.push(`${percent(skippedShare)} of neurons skipped`);
  return parts.join(" · ");
}

/** A share as `12 %`. */
export function percent(share) {
  return `${rounded(100 * share)}\u00a0%`;
}

function rounded(value) {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}
