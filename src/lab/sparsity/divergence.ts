/**
 * How far a sparsity mode's predictions of a text are from the dense model's:
 * the Kullback-Leibler divergence of each token's distribution, as
 * llama-perplexity's `--kl-divergence` has it, beside the perplexity.
 */
import type { Engine, SequenceOptions } from "../../engine/engine.ts";
import { type LayerStats, statsSince } from "../../places/stats.ts";
import { argmax, logSoftmaxAt } from "../../sampling/logprobs.ts";
import { errorOfMean, scoreOf, type TextScore } from "../perplexity.ts";

/** What the scored tokens of a chunk, or of several, add up to, beside the dense model. */
export interface DivergenceScore extends TextScore {
  /** Sum of KL(dense ‖ this) of the next token's distribution, in nats */
  readonly divergence: number;
  /** Sum of the squares of these */
  readonly divergenceSquares: number;
  /** Tokens whose likeliest next one is the dense model's */
  readonly sameTop: number;
  /** What a predictor did, by layer; counted while recall is measured */
  readonly predicted: readonly Selection[];
}

/** What a predictor selected of one layer's neurons. */
export type Selection = Pick<
  LayerStats,
  "neurons" | "predicted" | "truth" | "recalled"
>;

/** How a text is run. */
export interface RunOptions {
  /** Stops at the next step. */
  readonly signal?: AbortSignal;
  /** Told how many tokens more have been run. */
  readonly onTokens?: (count: number) => void;
}

/** Tokens whose logits are held at once, of each way. */
const pieceTokens = 64;

/**
 * Scores the second half of a chunk in several ways, the first of which is
 * dense: it is what others are compared with. Each is a sequence of the same
 * engine, which runs nothing else meanwhile.
 *
 * @throws {LimitError} where the chunk is longer than the context
 * @throws {PlaceError} where a place died
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { scoreDivergence, textChunks } from "@culm/culm/lab";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * const sparsity = { mode: "top-k", share: 1 } as const;
 * await using model = await load(tinyBamboo(), { sparsity });
 * const text = "Tom had a red ball. He ran to the park with it. ".repeat(8);
 * const [chunk] = textChunks(model.tokenizer, text, 32);
 * const ways = [{ keep: 1 }, { keep: 0.05 }];
 * const [, few] = await scoreDivergence(model.engine, chunk, ways);
 * console.log(few.divergence / few.tokens); // nats
 * ```
 */
export async function scoreDivergence(
  engine: Engine,
  chunk: Int32Array,
  ways: readonly SequenceOptions[],
  { signal, onTokens }: RunOptions = {},
): Promise<DivergenceScore[]> {
  const runs: Run[] = [];
  try {
    for (const way of ways) {
      runs.push(new Run(engine, way, { signal, onTokens }));
    }
    const half = chunk.length >> 1, last = chunk.length - 1;
    for (const run of runs) await run.skip(chunk.subarray(0, half));
    for (let start = half; start < last; start += pieceTokens) {
      const end = Math.min(start + pieceTokens, last);
      const ids = chunk.subarray(start, end);
      const next = chunk.subarray(start + 1, end + 1);
      let base: readonly Float32Array[] | undefined;
      for (const run of runs) base = await run.score(ids, next, base);
    }
    return runs.map((run) => run.total(runs[0]));
  } finally {
    for (const run of runs) run.sequence.drop();
  }
}

/** A chunk on its way through the model in one way. */
class Run {
  readonly sequence;
  readonly #losses: number[] = [];
  #divergence = 0;
  #squares = 0;
  #sameTop = 0;
  #predicted: Selection[] = [];

  constructor(
    readonly engine: Engine,
    options: SequenceOptions,
    readonly running: RunOptions,
  ) {
    this.sequence = engine.createSequence(options);
  }

  /** Runs tokens that are not scored. */
  async skip(ids: Int32Array): Promise<void> {
    await this.#counted(ids, "none");
  }

  /** Scores what comes behind some tokens, beside the dense model's logits. Gives these, its own where it has no others. */
  async score(
    ids: Int32Array,
    next: Int32Array,
    base?: readonly Float32Array[],
  ): Promise<readonly Float32Array[]> {
    const rows = await this.#counted(ids, "all");
    rows.forEach((row, i) => {
      this.#losses.push(-logSoftmaxAt(row, next[i]));
      const dense = base?.[i] ?? row;
      const divergence = klDivergence(dense, row);
      this.#divergence += divergence;
      this.#squares += divergence ** 2;
      if (argmax(row) === argmax(dense)) this.#sameTop++;
    });
    return base ?? rows;
  }

  total(base: Run): DivergenceScore {
    return {
      ...scoreOf(this.#losses, base.#losses),
      divergence: this.#divergence,
      divergenceSquares: this.#squares,
      sameTop: this.#sameTop,
      predicted: this.#predicted,
    };
  }

  /** Runs tokens, and adds what the predictor did meanwhile. */
  async #counted(
    ids: Int32Array,
    want: "none" | "all",
  ): Promise<Float32Array[]> {
    const { engine, sequence, running: { signal, onTokens } } = this;
    const before = engine.stats();
    const rows = await engine.evaluate(sequence, ids, want, signal);
    onTokens?.(ids.length);
    const { layers } = statsSince(engine.stats(), before);
    this.#predicted = sumSelections([
      ...this.#predicted.length > 0 ? [this.#predicted] : [],
      layers,
    ]);
    return rows;
  }
}

/** Adds what predictors did, by layer. */
export function sumSelections(
  parts: readonly (readonly Selection[])[],
): Selection[] {
  return parts[0].map((_, layer) => {
    const sum = (name: keyof Selection) =>
      parts.reduce((all, layers) => all + layers[layer][name], 0);
    return {
      neurons: sum("neurons"),
      predicted: sum("predicted"),
      truth: sum("truth"),
      recalled: sum("recalled"),
    };
  });
}

/**
 * Σ p · (ln p − ln q) of the softmaxes p and q of two rows of logits, in nats;
 * 0 where both are the same.
 *
 * @example
 * ```ts
 * import { klDivergence } from "@culm/culm/lab";
 *
 * const p = Float32Array.of(0, 0), q = Float32Array.of(Math.log(3), 0);
 * console.log(klDivergence(p, q).toFixed(4)); // 0.1438 = ln 2 - ln 3 / 2
 * ```
 */
export function klDivergence(p: Float32Array, q: Float32Array): number {
  const first = logSumExp(p), second = logSumExp(q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const logP = p[i] - first;
    // What p rules out adds nothing, also where q does too.
    if (logP > -Infinity) sum += Math.exp(logP) * (logP - (q[i] - second));
  }
  // Rounding may leave less than nothing.
  return Math.max(0, sum);
}

function logSumExp(logits: Float32Array): number {
  const largest = logits.reduce((most, z) => Math.max(most, z), -Infinity);
  let sum = 0;
  for (const z of logits) sum += Math.exp(z - largest);
  return largest + Math.log(sum);
}

/** What scores of chunks say of the divergence. */
export interface DivergenceEstimate {
  /** Mean KL divergence of a token, in nats */
  readonly divergence: number;
  /** Standard error of the mean; NaN of a single token */
  readonly divergenceError: number;
  /** Share of tokens whose likeliest next one is the dense model's */
  readonly sameTop: number;
}

/** What scores of chunks say together. */
export function estimateDivergence(
  scores: readonly DivergenceScore[],
): DivergenceEstimate {
  const sum = (
    name: "tokens" | "divergence" | "divergenceSquares" | "sameTop",
  ) => scores.reduce((all, score) => all + score[name], 0);
  const tokens = sum("tokens");
  const divergence = sum("divergence") / tokens;
  return {
    divergence,
    divergenceError: errorOfMean(divergence, sum("divergenceSquares"), tokens),
    sameTop: sum("sameTop") / tokens,
  };
}
