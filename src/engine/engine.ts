/**
 * The coordinator: takes tokens of any number of sequences, puts them into
 * steps, and gives logits back.
 *
 * @module
 */
import { GpuError, LimitError, PlaceError, UsageError } from "../errors.ts";
import { replay } from "./replay.ts";
import { fillBatch, type Request, type WantLogits } from "./scheduler.ts";
import { PagePool, Sequence } from "./sequence.ts";
import type { Rates } from "../plan/rates.ts";
import type { PlacePlan } from "../plan/plan.ts";
import type { Profile } from "../plan/profile.ts";
import type { FfnInputs } from "../places/ffn_inputs.ts";
import type { GpuStats } from "../places/gpu_stats.ts";
import {
  type LayerCounts,
  type PlaceStats,
  sumCounts,
} from "../places/stats.ts";
import type { Team } from "../places/team.ts";
import type { Lane, OnTrace } from "../places/trace.ts";
import { unpackTopLogits } from "../places/top_logits_row.ts";
import { checkTopLogits, type TopLogits, topLogits } from "../sampling/mod.ts";

/**
 * Runs a model's steps. Requests that wait at the same time share steps, so
 * several sequences cost little more than one.
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * using sequence = model.engine.createSequence();
 * const ids = model.tokenize("Once upon a time");
 * const [logits] = await model.engine.evaluate(sequence, ids);
 * console.log(logits.length); // 4096
 * ```
 */
export class Engine implements AsyncDisposable {
  #team: Team;
  readonly #withoutGpu?: (reason: GpuError) => Promise<Team>;
  /** Counters of teams that are gone */
  readonly #pastCounts: LayerCounts[] = [];
  readonly #vocabSize: number;
  readonly #pool = new PagePool();
  readonly #queue: Request[] = [];
  #running?: Promise<void>;
  #closed = false;
  #tokens = 0;

  /**
   * `team` holds the model; the engine closes it. Where its GPU fails,
   * `withoutGpu` makes a team of the same limits that goes on.
   */
  constructor(
    team: Team,
    vocabSize: number,
    withoutGpu?: (reason: GpuError) => Promise<Team>,
  ) {
    this.#team = team;
    this.#vocabSize = vocabSize;
    this.#withoutGpu = withoutGpu;
  }

  /** What computes, for people. */
  get description(): string {
    return this.#team.description;
  }

  /** The most positions that a sequence may have. */
  get contextSize(): number {
    return this.#team.limits.contextSize;
  }

  /** The most tokens in one step. */
  get batchSize(): number {
    return this.#team.limits.tokens;
  }

  /** Bytes of weights held, all places together. */
  get weightBytes(): number {
    return this.#team.weightBytes;
  }

  /** Pages of the KV cache that sequences hold. */
  get pagesTaken(): number {
    return this.#pool.taken;
  }

  /** What was computed and read since the start. */
  stats(): PlaceStats {
    const counts = [...this.#team.counts, ...this.#pastCounts];
    return sumCounts(counts, this.#tokens);
  }

  /** How a GPU takes part, where one does. */
  get gpu(): GpuStats | undefined {
    return this.#team.gpu;
  }

  /** What the GPU holds, where one takes part. */
  get gpuPlan(): PlacePlan | undefined {
    return this.#team.plan.gpu;
  }

  /** How fast each place reads its rows, where it has measured that. */
  get rates(): readonly Rates[] {
    return this.#team.rates;
  }

  /**
   * Measures the rates anew, in some 25 ms, after the step that runs. What a
   * benchmark reached is compared with rates of the same minute, because other
   * work on a machine changes them.
   *
   * @throws {PlaceError} where a place died
   */
  async measureRates(): Promise<readonly Rates[]> {
    while (this.#running) await this.#running;
    if (this.#closed) throw closedError();
    const measured = this.#team.measureRates();
    this.#running = measured.then(() => {}, () => {})
      .then(() => this.#drain());
    return await measured;
  }

  /**
   * How often each neuron fired since the start.
   *
   * @throws {UsageError} where the model was loaded without `countNeurons`
   */
  profile(): Profile {
    const { neuronCounts } = this.#team;
    if (!neuronCounts) {
      throw new UsageError(
        "Cannot give a profile: the model was loaded without countNeurons",
      );
    }
    return neuronCounts.profile(this.#tokens);
  }

  /**
   * What the feed-forward layers of the last step read.
   *
   * @throws {UsageError} where the model was loaded without `keepFfnInputs`
   */
  get ffnInputs(): FfnInputs {
    const { ffnInputs } = this.#team;
    if (!ffnInputs) {
      throw new UsageError(
        "Cannot give normed states: the model was loaded without keepFfnInputs",
      );
    }
    return ffnInputs;
  }

  /**
   * An empty sequence. `keep` is the share of each layer's neurons, those with
   * the largest |h|, that sparsity `top-k` keeps for its tokens, in place of the
   * share that the model was loaded with.
   *
   * @throws {UsageError} for `keep` out of range, or in another mode
   */
  createSequence({ keep }: { readonly keep?: number } = {}): Sequence {
    if (keep !== undefined) this.#checkKeep(keep);
    return new Sequence(this.#pool, keep);
  }

  /**
   * Appends `tokens` to `sequence`. Gives the logits (`[vocabSize]`, f32, not
   * normalised) after the last token, after each, or none.
   *
   * @throws {UsageError} for no tokens, or ids that the vocabulary lacks
   * @throws {LimitError} where the sequence would pass the context
   * @throws {PlaceError} where a place died
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
   * token, and log Σ exp over all. Where a GPU holds the whole output head, it
   * picks them, and they alone come back from it; log Σ exp is then an f32.
   *
   * @throws {UsageError} for no tokens, ids that the vocabulary lacks, or a `k` below 1
   * @throws {LimitError} where the sequence would pass the context
   * @throws {PlaceError} where a place died, a logit is NaN or +Infinity, or all are -Infinity
   */
  async evaluateTop(
    sequence: Sequence,
    tokens: ArrayLike<number>,
    k: number,
    signal?: AbortSignal,
  ): Promise<TopLogits> {
    if (!Number.isSafeInteger(k) || k < 1) {
      throw new UsageError(
        `Cannot give the ${k} largest logits: needs a whole number from 1 up`,
      );
    }
    const vocabSize = this.#vocabSize;
    const top = Math.min(k, vocabSize);
    const want = "last";
    const [row] = await this.#evaluate({ sequence, tokens, want, top, signal });
    if (row.length === vocabSize) return topLogits(row, top);
    const { ids, logits, logSumExp } = unpackTopLogits(row);
    const picked = {
      ids: ids.subarray(0, top),
      logits: logits.subarray(0, top),
      logSumExp,
    };
    checkTopLogits(picked, vocabSize);
    return picked;
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
    const onTrace: OnTrace = (traced) => lanes = traced;
    const tokens = [token], want = "last", top = 0;
    await this.#evaluate({ sequence, tokens, want, top, onTrace });
    return lanes;
  }

  #evaluate(
    asked: Omit<Request, "logits" | "resolve" | "reject" | "done">,
  ): Promise<Float32Array[]> {
    return new Promise((resolve, reject) => {
      asked.signal?.throwIfAborted();
      this.#check(asked.sequence, asked.tokens);
      this.#queue.push({
        ...asked,
        logits: [],
        resolve,
        reject,
        done: 0,
      });
      // Started in a later task, so that requests made together run together.
      this.#running ??= Promise.resolve().then(() => this.#drain());
    });
  }

  /** Stops the places. Waits for the step that runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#rejectAll(closedError());
    await this.#running;
    await this.#team[Symbol.asyncDispose]();
  }

  #rejectAll(error: unknown): void {
    for (const { reject } of this.#queue.splice(0)) reject(error);
  }

  #check(sequence: Sequence, tokens: ArrayLike<number>): void {
    if (this.#closed) throw closedError();
    if (tokens.length === 0) {
      throw new UsageError("Cannot evaluate an empty list of tokens");
    }
    for (let i = 0; i < tokens.length; i++) {
      const id = tokens[i];
      if (!Number.isInteger(id) || id < 0 || id >= this.#vocabSize) {
        throw new UsageError(
          `Cannot evaluate token ${id}: the vocabulary has ${this.#vocabSize}`,
        );
      }
    }
    let length = sequence.length + tokens.length;
    for (const request of this.#queue) {
      if (request.sequence === sequence) {
        length += request.tokens.length - request.done;
      }
    }
    if (length > this.contextSize) {
      throw new LimitError(
        `Cannot evaluate ${length} tokens in one sequence: the context has ${this.contextSize}`,
      );
    }
  }

  #checkKeep(keep: number): void {
    const { mode } = this.#team.sparsity;
    if (mode !== "top-k") {
      throw new UsageError(
        `Cannot keep a share of ${keep} in sparsity ${mode}: load the model with top-k`,
      );
    }
    if (!(keep > 0 && keep <= 1)) {
      throw new UsageError(
        `Cannot keep a share of ${keep} of the neurons: needs a number above 0, at most 1`,
      );
    }
  }

  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        this.#dropAborted();
        const requests = fillBatch(this.#team, this.#queue, this.#pool);
        this.#tokens += requests.length;
        if (requests.length === 0) continue;
        this.#distribute(requests, await this.#run(requests));
      }
    } catch (error) {
      this.#rejectAll(error);
    } finally {
      this.#running = undefined;
    }
  }

  async #run(owners: readonly Request[]): Promise<Float32Array[]> {
    const onTrace = owners.find((owner) => owner.onTrace)?.onTrace;
    try {
      return await this.#team.run(onTrace);
    } catch (error) {
      if (!(error instanceof GpuError) || !this.#withoutGpu) throw error;
      await this.#goOnWithoutGpu(this.#withoutGpu, error, owners);
      return await this.#team.run(onTrace);
    }
  }

  /** Hands the batch that failed, and the past of all sequences, to another team. */
  async #goOnWithoutGpu(
    start: (reason: GpuError) => Promise<Team>,
    reason: GpuError,
    owners: readonly Request[],
  ): Promise<void> {
    const { batch, counts } = this.#team;
    await this.#team[Symbol.asyncDispose]();
    this.#pastCounts.push(...counts);
    this.#team = await start(reason);
    await replay(
      this.#team,
      this.#pool,
      (sequence) =>
        owners.filter((owner) => owner.sequence === sequence).length,
    );
    this.#team.batch.copyFrom(batch);
    this.#team.batch.copyCount = 0; // replayed into the copies already
  }

  #dropAborted(): void {
    for (const request of [...this.#queue]) {
      if (!request.signal?.aborted) continue;
      this.#queue.splice(this.#queue.indexOf(request), 1);
      request.reject(request.signal.reason);
    }
  }

  #distribute(owners: Request[], logits: Float32Array[]): void {
    const { batch } = this.#team;
    let row = 0;
    owners.forEach((request, t) => {
      if (batch.wantLogits[t]) request.logits.push(logits[row++].slice());
    });
    for (const request of new Set(owners)) {
      if (request.done < request.tokens.length) continue;
      this.#queue.splice(this.#queue.indexOf(request), 1);
      request.resolve(request.logits);
    }
  }
}

function closedError(): PlaceError {
  return new PlaceError("Cannot evaluate: the model is closed");
}
