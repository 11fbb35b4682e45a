/**
 * Perplexity of a text, by llama-perplexity's method: the text is cut into
 * chunks of one context each, every chunk begins as a text begins, and the
 * tokens of its second half are scored, which have half a context before them
 * at least.
 */
import type { Engine } from "../engine/engine.ts";
import { UsageError } from "../errors.ts";
import { logSoftmaxAt } from "../sampling/logprobs.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What the scored tokens of a chunk, or of several, add up to. */
export interface TextScore {
  /** Tokens that were scored */
  readonly tokens: number;
  /** Sum of their negative log-likelihoods, in nats */
  readonly nll: number;
  /** Sum of the squares of these */
  readonly squares: number;
  /** Sum of the squares of what each differs by from the same token's in the score that keeps the most neurons; 0 in that one */
  readonly differences: number;
}

/** How well a model predicts a text. */
export interface PerplexityEstimate {
  /** exp of the mean negative log-likelihood of a token */
  readonly perplexity: number;
  /** Standard error of the perplexity; NaN of a single token */
  readonly error: number;
}

/** What keeping fewer neurons changes. */
export interface PerplexityChange {
  /** Perplexity divided by that with the most neurons, less 1 */
  readonly change: number;
  /** Standard error of the change; NaN of a single token */
  readonly changeError: number;
}

/**
 * Cuts a text into chunks of `size` tokens; what is left at the end is dropped.
 * Where the tokenizer begins a text with BOS, the text has one, and in each
 * later chunk one takes the place of the first token.
 *
 * @throws {UsageError} where the text is shorter than two chunks
 */
export function textChunks(
  tokenizer: Pick<Tokenizer, "encode" | "addBos" | "bos">,
  text: string,
  size: number,
): Int32Array[] {
  if (!(Number.isInteger(size) && size >= 4)) {
    throw new UsageError(
      `Cannot cut a text into chunks of ${size} tokens: needs a whole number from 4 up`,
    );
  }
  const ids = tokenizer.encode(text);
  if (ids.length < 2 * size) {
    throw new UsageError(
      `Cannot measure perplexity in a context of ${size}: the text needs ${
        2 * size
      } tokens, and has ${ids.length}`,
    );
  }
  const { addBos, bos } = tokenizer;
  return Array.from({ length: Math.floor(ids.length / size) }, (_, i) => {
    const chunk = Int32Array.from(ids.slice(i * size, (i + 1) * size));
    if (addBos && bos !== undefined) chunk[0] = bos;
    return chunk;
  });
}

/** How chunks are scored. */
export interface ScoreOptions {
  /** A score for each: the share of neurons that sparsity `top-k` keeps. Default: one, with the model's own. */
  readonly keep?: readonly (number | undefined)[];
  /** Chunks to leave out at the start. Default 0. */
  readonly skip?: number;
  /** Stops at the next step. */
  readonly signal?: AbortSignal;
}

/**
 * Scores chunks in their order. Gives the scores of each, one for each of
 * `keep`. All of them run through the model together, and so do as many chunks
 * as a step has room for.
 *
 * @throws {LimitError} where a chunk is longer than the context
 * @throws {PlaceError} where a place died
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { estimatePerplexity, scoreChunks, textChunks } from "@culm/culm/lab";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * const text = "Tom had a red ball. He ran to the park with it. ".repeat(8);
 * const chunks = textChunks(model.tokenizer, text, 32);
 * for await (const [score] of scoreChunks(model.engine, chunks)) {
 *   console.log(estimatePerplexity([score]).perplexity);
 * }
 * ```
 */
export async function* scoreChunks(
  engine: Engine,
  chunks: readonly Int32Array[],
  { keep = [undefined], skip = 0, signal }: ScoreOptions = {},
): AsyncGenerator<TextScore[], void, void> {
  for (let next = skip; next < chunks.length;) {
    const together = Math.max(
      1,
      Math.floor(engine.batchSize / (keep.length * chunks[next].length)),
    );
    const group = chunks.slice(next, next + together);
    yield* await Promise.all(group.map(async (chunk) => {
      const losses = await Promise.all(
        keep.map((share) => lossesOf(engine, chunk, share, signal)),
      );
      const base = losses[mostKept(keep)];
      return losses.map((own) => scoreOf(own, base));
    }));
    next += group.length;
  }
}

/** Which of some shares is the largest; where none is stated, all neurons count. */
export function mostKept(keep: readonly (number | undefined)[]): number {
  const shares = keep.map((share) => share ?? 1);
  return shares.indexOf(Math.max(...shares));
}

/** The score of a chunk's losses, beside those with the most neurons. */
export function scoreOf(
  losses: readonly number[],
  base: readonly number[],
): TextScore {
  const sum = (term: (loss: number, i: number) => number) =>
    losses.reduce((total, loss, i) => total + term(loss, i), 0);
  return {
    tokens: losses.length,
    nll: sum((loss) => loss),
    squares: sum((loss) => loss ** 2),
    differences: sum((loss, i) => (loss - base[i]) ** 2),
  };
}

/** Negative log-likelihoods of the tokens of a chunk's second half, in nats. */
async function lossesOf(
  engine: Engine,
  chunk: Int32Array,
  keep: number | undefined,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  using sequence = engine.createSequence({ keep });
  const half = chunk.length >> 1, last = chunk.length - 1;
  const losses: number[] = [];
  let past: Promise<unknown> = engine.evaluate(
    sequence,
    chunk.subarray(0, half),
    "none",
    signal,
  );
  // In pieces, for the logits of all positions at once may be hundreds of MB.
  for (let start = half; start < last; start += engine.batchSize) {
    const end = Math.min(start + engine.batchSize, last);
    const piece = chunk.subarray(start, end);
    const scored = engine.evaluate(sequence, piece, "all", signal);
    const [rows] = await Promise.all([scored, past]);
    rows.forEach((logits, i) =>
      losses.push(-logSoftmaxAt(logits, chunk[start + i + 1]))
    );
    past = scored;
  }
  return losses;
}

/** What scores of chunks say together. */
export function estimatePerplexity(
  scores: readonly TextScore[],
): PerplexityEstimate {
  const { tokens, nll, squares } = totalOf(scores);
  const mean = nll / tokens;
  const perplexity = Math.exp(mean);
  // Of the mean, times the slope of exp there.
  const error = errorOfMean(mean, squares, tokens) * perplexity;
  return { perplexity, error };
}

/**
 * How much larger the perplexity of some scores is than that of `base`, which
 * are of the same chunks with the most neurons. Its error is that of the
 * differences of each token, as in llama-perplexity's comparison with a base:
 * what makes a text hard makes it hard for both.
 */
export function comparePerplexity(
  scores: readonly TextScore[],
  base: readonly TextScore[],
): PerplexityChange {
  const { tokens, nll, differences } = totalOf(scores);
  const mean = (nll - totalOf(base).nll) / tokens;
  const error = errorOfMean(mean, differences, tokens);
  return { change: Math.expm1(mean), changeError: error * Math.exp(mean) };
}

function totalOf(scores: readonly TextScore[]): TextScore {
  const sum = (name: keyof TextScore) =>
    scores.reduce((total, score) => total + score[name], 0);
  return {
    tokens: sum("tokens"),
    nll: sum("nll"),
    squares: sum("squares"),
    differences: sum("differences"),
  };
}

/** Standard error of a mean, given the sum of squares of so many values. */
export function errorOfMean(
  mean: number,
  squares: number,
  count: number,
): number {
  // Rounding may leave less than nothing, where all values are alike.
  const variance = Math.max(0, squares / count - mean ** 2);
  return Math.sqrt(variance / (count - 1));
}
