/**
 * The coordinator: takes tokens of any number of sequences, puts them into
 * steps, and gives logits back.
 */
import * as v from "valibot";
import {
  ContextError,
  MemoryError,
  UnsupportedError,
  UsageError,
} from "../errors.ts";
import { LastingTeam, type Restart } from "./lasting_team.ts";
import { NeuronWatch } from "./neuron_watch.ts";
import { PagePool } from "./page_pool.ts";
import type { Request, WantLogits } from "./scheduler.ts";
import { droppedError, Sequence, type SequenceOwner } from "./sequence.ts";
import type { StepCosts } from "./step_costs.ts";
import type { ThreadChoice } from "./thread_choice.ts";
import { StepLoop } from "./step_loop.ts";
import { checkOptions, type OptionsOf, type SchemaOf } from "../options.ts";
import { lengthOf } from "../model/index_set.ts";
import { type ModeValue, pagePositions, pagesFor } from "../places/batch.ts";
import type { CacheType } from "../places/cache_type.ts";
import type { Rates } from "../plan/machine.ts";
import type { PlacePlan, Residents } from "../plan/plan.ts";
import type { Profile } from "../plan/profile.ts";
import type { Sparsity } from "../plan/sparsity.ts";
import type { FfnInputs } from "../places/ffn_inputs.ts";
import type { NeuronCounts } from "../places/neuron_counts.ts";
import type { GpuStats } from "../places/gpu_stats.ts";
import { type PlaceStats, sumCounts } from "../places/stats.ts";
import type { Team } from "../places/team.ts";
import type { Lane } from "../places/trace.ts";
import { unpackTopLogits } from "../places/top_logits_row.ts";
import type { Logits, TopLogits } from "../sampling/logits.ts";
import type { TokenMask } from "../sampling/token_mask.ts";
import { checkTopLogits, topLogits } from "../sampling/top_logits.ts";

/** How an engine runs. Everything may be left out. */
export interface EngineOptions {
  /**
   * Starts a team of the same limits in place of one that failed, with which the
   * sequences go on; where it is left out, or fails too, the engine closes.
   */
  readonly restart?: Restart;
  /** Chooses the number of threads that `restart` starts; they stay as they are where it is left out. */
  readonly threads?: ThreadChoice;
  /** The most pages of keys and values, all sequences together. Default: as many as memory holds. */
  readonly mostPages?: number;
  /** Whether pages of past sequences are kept for texts that begin alike. Default false. */
  readonly keepsPast?: boolean;
}

const thresholdText = "a number, or a list of one for each layer";

/** What a new sequence is like. */
export const sequenceOptions = {
  /**
   * The share of each layer's neurons, those with the largest |h|, that sparsity
   * `top-k` keeps for its tokens, in place of the share that the model was
   * loaded with.
   */
  keep: {
    type: "number",
    exclusiveMinimum: 0,
    maximum: 1,
    defaultText: "the share that the model was loaded with",
    description: "share of each layer's neurons that sparsity top-k keeps",
  },
  /**
   * The threshold of sparsity `threshold` or `predictor` for its tokens, in
   * place of what the model was loaded with: one for all layers, or one each.
   */
  threshold: {
    schema: v.union(
      [v.number(), v.array(v.number())],
      thresholdText,
    ) as SchemaOf<
      number | readonly number[]
    >,
    defaultText: "what the model was loaded with",
    description:
      "what |h|, or a predictor's score, has to reach in sparsity threshold or predictor",
  },
} as const;

/** What a new sequence is like. Everything may be left out. */
export type SequenceOptions = OptionsOf<typeof sequenceOptions>;

/**
 * Runs a model's steps. Requests that wait at the same time share steps, so
 * several sequences cost little more than one: single tokens go first, what is
 * left of a step is shared among prompts.
 *
 * A request runs whole or not at all: where it fails, is aborted or refused, its
 * sequence is as it was before, and those that wait behind it on the same
 * sequence fail with it. A step that fails is run again by another team.
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * using sequence = model.engine.createSequence();
 * const ids = model.tokenize("Once upon a time");
 * const [logits] = await model.engine.evaluate(sequence, ids);
 * console.log(logits.length); // 4096
 * ```
 */
export class Engine implements AsyncDisposable {
  readonly #team: LastingTeam;
  readonly #vocabSize: number;
  readonly #owner: SequenceOwner;
  readonly #loop: StepLoop;
  readonly #watches = new Set<NeuronWatch>();

  /** `team` holds the model; the engine closes it. */
  constructor(
    team: Team,
    vocabSize: number,
    { restart, threads, mostPages = Infinity, keepsPast }: EngineOptions = {},
  ) {
    this.#vocabSize = vocabSize;
    const pool = new PagePool(keepsPast);
    const { layers } = team.counts[0];
    this.#owner = { pool, layers, sequences: new Set(), cachedTokens: 0 };
    this.#team = new LastingTeam(team, this.#owner, restart, threads);
    this.#loop = new StepLoop(this.#team, mostPages);
  }

  /** What computes, for people. */
  get description(): string {
    return this.#team.current.description;
  }

  /** The most positions that a sequence may have. */
  get contextSize(): number {
    return this.#team.current.options.limits.contextSize;
  }

  /** The most tokens in one step. */
  get batchSize(): number {
    return this.#team.current.options.limits.tokens;
  }

  /** Bytes of weights held, all places together. */
  get weightBytes(): number {
    return this.#team.current.weightBytes;
  }

  /** Pages of the KV cache that sequences hold. */
  get pagesTaken(): number {
    return this.#owner.pool.taken;
  }

  /** Pages of the KV cache that places hold; those of past sequences are among them. */
  get pagesHeld(): number {
    return this.#owner.pool.count;
  }

  /** Tokens that sequences took over from sequences of the past. */
  get cachedTokens(): number {
    return this.#owner.cachedTokens;
  }

  /**
   * How many of `tokens`, the first ones, a sequence of them would take over from
   * others, those that are being evaluated included.
   *
   * @internal
   */
  countKnown(tokens: readonly number[]): number {
    return this.#owner.pool.find(tokens).length;
  }

  /**
   * Done when a step has been run.
   *
   * @internal
   */
  nextStep(): Promise<void> {
    return this.#loop.nextStep();
  }

  /** What was computed and read since the start. */
  stats(): PlaceStats {
    return sumCounts(this.#team.counts, this.#loop.tokens);
  }

  /**
   * What steps of so many tokens take.
   *
   * @internal
   */
  get stepCosts(): StepCosts {
    return this.#loop.costs;
  }

  /** How a GPU takes part, where one does. */
  get gpu(): GpuStats | undefined {
    return this.#team.current.gpu;
  }

  /** What the GPU holds, where one takes part. */
  get gpuPlan(): PlacePlan | undefined {
    return this.#team.current.options.plan.gpu;
  }

  /** What is in memory of each layer, where a memory budget does not hold all. */
  get residents(): Residents | undefined {
    return this.#team.current.options.plan.residents;
  }

  /** How fast each place reads its rows, where it has measured that. */
  get rates(): readonly Rates[] {
    return this.#team.current.rates;
  }

  /**
   * Measures the rates anew, in some 25 ms, after the step that runs. What a
   * benchmark reached is compared with rates of the same minute, because other
   * work on a machine changes them.
   *
   * @throws {PlaceError} where a place died
   */
  async measureRates(): Promise<readonly Rates[]> {
    return await this.#loop.between((team) => team.measureRates());
  }

  /** Whether the model was loaded with `countNeurons`. */
  get countsNeurons(): boolean {
    return this.#team.current.neuronCounts?.isWhole ?? false;
  }

  /**
   * How often each neuron fired since the start.
   *
   * @throws {UsageError} where the model was loaded without `countNeurons`
   */
  profile(): Profile {
    return this.#counted().profile(this.#loop.tokens);
  }

  /**
   * For how many tokens each expert was chosen since the start, by layer; empty
   * where a model has no router.
   *
   * @throws {UsageError} where the model was loaded without `countNeurons`
   */
  expertCounts(): Uint32Array[] {
    return this.#counted().experts.map((counts) => counts.slice());
  }

  #counted(): NeuronCounts {
    const { neuronCounts } = this.#team.current;
    if (neuronCounts?.isWhole) return neuronCounts;
    throw new UsageError(
      "Cannot give a profile: the model was loaded without countNeurons",
    );
  }

  /**
   * Which neurons fire from now on: they are counted as long as somebody watches.
   * A GPU counts none of its own.
   *
   * @throws {PlaceError} where nothing can be evaluated any more
   * @internal
   */
  async watchNeurons(): Promise<NeuronWatch> {
    return await NeuronWatch.start(this.#loop, this.#watches);
  }

  /**
   * What the feed-forward layers of the last step read.
   *
   * @throws {UsageError} where the model was loaded without `keepFfnInputs`
   */
  get ffnInputs(): FfnInputs {
    const { ffnInputs } = this.#team.current;
    if (!ffnInputs) {
      throw new UsageError(
        "Cannot give normed states: the model was loaded without keepFfnInputs",
      );
    }
    return ffnInputs;
  }

  /**
   * From what score on a predictor selects the share `recall` of the neurons that
   * fire, by layer, in the tokens of all sequences so far: the `threshold` of a
   * new sequence. Infinity where nothing fired.
   *
   * @throws {UsageError} where the model was loaded without `measureRecall`, or `recall` is out of range
   */
  recallThresholds(recall: number): number[] {
    const { scores, options: { sparsity: { mode } } } = this.#team.current;
    if (!scores || mode !== "predictor") {
      throw new UsageError(
        "Cannot give thresholds of a recall: the model was loaded without measureRecall, or another sparsity than predictor",
      );
    }
    if (!(recall > 0 && recall <= 1)) {
      throw new UsageError(
        `Cannot give thresholds of recall ${recall}: needs a number above 0, at most 1`,
      );
    }
    return scores.thresholds(recall);
  }

  /**
   * An empty sequence.
   *
   * @throws {UsageError} for `keep` or `threshold` out of range, or in another mode
   * @throws {UnsupportedError} for `threshold` where a GPU takes part
   */
  createSequence(options: SequenceOptions = {}): Sequence {
    const { keep, threshold } = checkOptions(
      "createSequence",
      sequenceOptions,
      options,
    );
    const { mode } = this.#team.current.options.sparsity;
    if (keep !== undefined && mode !== "top-k") {
      throw new UsageError(
        `Cannot keep a share of ${keep} in sparsity ${mode}: load the model with top-k`,
      );
    }
    if (threshold !== undefined) this.#checkThreshold(threshold);
    return new Sequence(this.#owner, keep ?? threshold);
  }

  #checkThreshold(threshold: ModeValue): void {
    const { sparsity: { mode }, model } = this.#team.current.options;
    const each = [threshold].flat(), layers = model.layers.length;
    if (mode !== "threshold" && mode !== "predictor") {
      throw new UsageError(
        `Cannot take a threshold of ${
          each[0]
        } in sparsity ${mode}: load the model with threshold or predictor`,
      );
    }
    if (typeof threshold !== "number" && each.length !== layers) {
      throw new UsageError(
        `Cannot take ${each.length} thresholds: the model has ${layers} layers`,
      );
    }
    const negative = each.find((value) => value < 0);
    if (mode === "threshold" && negative !== undefined) {
      throw new UsageError(
        `Cannot take a threshold of ${negative} of |h|: it is a number from 0 up`,
      );
    }
    if (this.gpuPlan) {
      throw new UnsupportedError(
        "Cannot take a sequence's own threshold while a GPU computes: load the model without one",
      );
    }
  }

  /**
   * A sequence of `tokens`. As many of them as a sequence of the past began with
   * are not evaluated again, where the model was loaded so that it keeps the past.
   *
   * @throws as {@linkcode evaluate} and {@linkcode createSequence} do
   */
  async startSequence(
    tokens: readonly number[],
    { signal, ...options }: SequenceOptions & { signal?: AbortSignal } = {},
  ): Promise<Sequence> {
    const sequence = this.createSequence(options);
    try {
      sequence.resume(tokens);
      const rest = tokens.slice(sequence.length);
      if (rest.length > 0) await this.evaluate(sequence, rest, "none", signal);
      return sequence;
    } catch (error) {
      sequence.drop();
      throw error;
    }
  }

  /**
   * Appends `tokens` to `sequence`. Gives the logits (`[vocabSize]`, f32, not
   * normalised) after the last token, after each, or none. The tokens are copied
   * at the call.
   *
   * @throws {UsageError} for no tokens, ids that the vocabulary lacks, or a sequence of another model or one that was dropped
   * @throws {LimitError} where the sequence would pass the context, or there is no memory for its keys and values
   * @throws {PlaceError} where a place died, and another could not go on
   */
  evaluate(
    sequence: Sequence,
    tokens: ArrayLike<number>,
    want: WantLogits = "last",
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    return this.#evaluate({ sequence, tokens, want, top: 0, signal });
  }

  /**
   * Appends `tokens` to `sequence`. Gives the `k` largest logits after the last
   * token, and log Σ exp over all, or NaN in its place where `needsSum` is false:
   * then places pick them, and leave out what is not needed to know them. Where a
   * GPU holds the whole output head, it always picks them; log Σ exp is then an f32.
   *
   * @throws as {@linkcode evaluate} does
   * @throws {UsageError} for a `k` below 1
   * @throws {PlaceError} where a logit is NaN or +Infinity, or all are -Infinity
   */
  async evaluateTop(
    sequence: Sequence,
    tokens: ArrayLike<number>,
    k: number,
    signal?: AbortSignal,
    needsSum = true,
  ): Promise<TopLogits> {
    const [top] = await this.evaluateTops(
      sequence,
      tokens,
      k,
      "last",
      signal,
      needsSum,
    );
    return top;
  }

  /**
   * As {@linkcode evaluateTop}, after the last token, after each, or none.
   *
   * @throws as {@linkcode evaluateTop} does
   */
  async evaluateTops(
    sequence: Sequence,
    tokens: ArrayLike<number>,
    k: number,
    want: WantLogits,
    signal?: AbortSignal,
    needsSum = true,
  ): Promise<TopLogits[]> {
    if (!Number.isSafeInteger(k) || k < 1) {
      throw new UsageError(
        `Cannot give the ${k} largest logits: needs a whole number from 1 up`,
      );
    }
    const top = Math.min(k, this.#vocabSize);
    const asked = { sequence, tokens, want, top, needsSum, signal };
    const rows = await this.#evaluate(asked);
    return rows.map((row) => this.#topOf(row, top));
  }

  /**
   * Appends `tokens` to `sequence`. Gives the `k` largest of the logits that
   * `mask` allows after the last token; or all logits, where the mask comes late,
   * or places cannot pick so many.
   *
   * @throws as {@linkcode evaluateTop} does
   * @internal
   */
  async evaluateMasked(
    sequence: Sequence,
    tokens: ArrayLike<number>,
    k: number,
    mask: Promise<TokenMask>,
    signal?: AbortSignal,
  ): Promise<Logits> {
    const want = "last", top = Math.min(k, this.#vocabSize), needsSum = false;
    const asked = {
      sequence,
      tokens,
      want,
      top,
      mask,
      needsSum,
      signal,
    } as const;
    const [row] = await this.#evaluate(asked);
    return row.length === this.#vocabSize ? row : this.#topOf(row, top);
  }

  /**
   * Appends `tokens` to `sequence`. Gives the model's states (`[hiddenSize]`, f32)
   * behind the output norm, that logits are computed from: after the last token,
   * after each, or none.
   *
   * @throws as {@linkcode evaluate} does
   * @throws {UnsupportedError} where a GPU holds the output head
   */
  async evaluateStates(
    sequence: Sequence,
    tokens: ArrayLike<number>,
    want: WantLogits = "last",
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    if (this.gpuPlan && lengthOf(this.gpuPlan.vocab) > 0) {
      throw new UnsupportedError(
        "Cannot give states while a GPU holds the output head: load the model without one",
      );
    }
    const asked = { sequence, tokens, want, top: 0, states: true, signal };
    return await this.#evaluate(asked);
  }

  /** The `top` largest logits of a row: all of them, or those that a place has picked. */
  #topOf(row: Float32Array, top: number): TopLogits {
    if (row.length === this.#vocabSize) return topLogits(row, top);
    const { ids, logits, ...rest } = unpackTopLogits(row);
    const most = { ids: ids.subarray(0, top), logits: logits.subarray(0, top) };
    const picked = { ...rest, ...most };
    checkTopLogits(picked, this.#vocabSize);
    return picked;
  }

  /**
   * Keys and values of a sequence, a page after another, each
   * `[layer][position][KV head][key, value]` as `kv_rows.ts` has them.
   *
   * @internal
   */
  async *readPages(
    sequence: Sequence,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    for (const [i, page] of sequence.pages.entries()) {
      const rest = sequence.length - i * pagePositions;
      const positions = Math.min(pagePositions, rest);
      yield await this.#loop.between((team) => team.readPage(page, positions));
    }
  }

  /**
   * The sequence of `tokens`, whose keys and values `readPage` gives, by the
   * number of the page, as {@linkcode readPages} does.
   *
   * @throws what `readPage` throws
   * @throws {LimitError} where there is no room for them
   * @throws {PlaceError} where a place died, and another could not go on
   * @internal
   */
  async restorePages(
    tokens: readonly number[],
    readPage: (index: number) => Promise<Uint8Array>,
  ): Promise<Sequence> {
    this.#loop.check();
    const sequence = this.createSequence();
    try {
      this.#checkRoom(sequence, tokens.length);
      for (let first = 0; first < tokens.length; first += pagePositions) {
        const rows = await readPage(first / pagePositions);
        const ids = tokens.slice(first, first + pagePositions);
        await this.#loop.append(sequence, ids, rows);
      }
      return sequence;
    } catch (error) {
      sequence.drop();
      throw error;
    }
  }

  /** How keys and values are kept. */
  get cacheType(): CacheType {
    return this.#team.current.options.cacheType;
  }

  /** Which neurons are computed. */
  get sparsity(): Sparsity {
    return this.#team.current.options.sparsity;
  }

  /**
   * Appends a token to `sequence`, and gives what each place did while it was
   * evaluated: the CPU's places, the thread of the GPU's, and the GPU, where that
   * writes timestamps. Being watched costs some time.
   *
   * @throws as {@linkcode evaluate} does
   */
  async trace(sequence: Sequence, token: number): Promise<readonly Lane[]> {
    let lanes: readonly Lane[] = [];
    const onTrace = (traced: readonly Lane[]) => lanes = traced;
    const tokens = [token], want = "last", top = 0;
    await this.#evaluate({ sequence, tokens, want, top, onTrace });
    return lanes;
  }

  // deno-lint-ignore require-await -- what is refused is a rejection
  async #evaluate(
    asked: Omit<Request, "tokens" | "logits" | "answer" | "done"> & {
      readonly tokens: ArrayLike<number>;
    },
  ): Promise<Float32Array[]> {
    const { sequence, signal } = asked;
    signal?.throwIfAborted();
    this.#loop.check();
    if (!sequence.isOf(this.#owner)) {
      throw new UsageError("Cannot evaluate in a sequence of another model");
    }
    if (sequence.dropped) throw droppedError();
    const { length } = asked.tokens;
    if (!(length > 0)) {
      throw new UsageError("Cannot evaluate an empty list of tokens");
    }
    this.#checkRoom(sequence, length);
    // The caller's ids, checked; what becomes of theirs matters no more.
    const tokens = Array.from(asked.tokens);
    for (const id of tokens) {
      if (!Number.isInteger(id) || id < 0 || id >= this.#vocabSize) {
        throw new UsageError(
          `Cannot evaluate token ${id}: the vocabulary has ${this.#vocabSize}`,
        );
      }
    }
    const answer = Promise.withResolvers<Float32Array[]>();
    this.#loop.push({ ...asked, tokens, logits: [], answer, done: 0 });
    return answer.promise;
  }

  /** Stops the places. Waits for the step that runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop.close();
    await this.#team.current[Symbol.asyncDispose]();
  }

  /** A sequence has room for so many tokens more. */
  #checkRoom(sequence: Sequence, count: number): void {
    const length = sequence.length + this.#loop.waiting(sequence) + count;
    if (length > this.contextSize) {
      throw new ContextError(
        `Cannot evaluate ${length} tokens in one sequence: the context has ${this.contextSize}`,
        { tokens: length, contextSize: this.contextSize },
      );
    }
    const pages = pagesFor(length), { mostPages } = this.#loop;
    if (pages > mostPages) {
      throw new MemoryError(
        `Cannot evaluate ${length} tokens in one sequence: they need ${pages} pages of keys and values, the limit is ${mostPages}`,
      );
    }
  }
}
