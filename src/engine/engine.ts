/**
 * The coordinator: takes tokens of any number of sequences, puts them into
 * steps, and gives logits back.
 *
 * @module
 */
import { CulmError, LimitError, PlaceError, UsageError } from "../errors.ts";
import { PagePool } from "./page_pool.ts";
import { replay } from "./replay.ts";
import {
  fillBatch,
  linesOf,
  piecesOf,
  type Request,
  type Share,
  shareSlots,
  type WantLogits,
} from "./scheduler.ts";
import { Sequence, type SequenceOwner } from "./sequence.ts";
import { pagesFor } from "../places/batch.ts";
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

/** How an engine runs. Everything may be left out. */
export interface EngineOptions {
  /**
   * Starts a team of the same limits in place of one that failed, with which the
   * sequences go on; where it is left out, or fails too, the engine closes.
   */
  readonly restart?: (reason: unknown) => Promise<Team>;
  /** The most pages of keys and values, all sequences together. Default: as many as memory holds. */
  readonly mostPages?: number;
  /** Whether pages of past sequences are kept for texts that begin alike. Default false. */
  readonly keepsPast?: boolean;
}

/** What a new sequence is like. */
export interface SequenceOptions {
  /**
   * The share of each layer's neurons, those with the largest |h|, that sparsity
   * `top-k` keeps for its tokens, in place of the share that the model was
   * loaded with.
   */
  readonly keep?: number;
}

/** Teams that may fail one after another, without a step between, before the engine gives up. */
const mostRestarts = 3;

/**
 * Turns of the microtask queue that those have whose tokens were evaluated, to
 * request the next ones before a step is made of what others wait for.
 */
const callersTurns = 16;

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
  readonly #vocabSize: number;
  readonly #restart?: EngineOptions["restart"];
  readonly #mostPages: number;
  readonly #pool: PagePool;
  readonly #owner: SequenceOwner;
  /** Counters of teams that are gone */
  readonly #pastCounts: LayerCounts[] = [];
  #queue: Request[] = [];
  #running?: Promise<void>;
  /** Why nothing can be evaluated any more */
  #failure?: CulmError;
  /** Whether places have refused to make more pages */
  #isFull = false;
  #tokens = 0;

  /** `team` holds the model; the engine closes it. */
  constructor(
    team: Team,
    vocabSize: number,
    { restart, mostPages = Infinity, keepsPast }: EngineOptions = {},
  ) {
    this.#team = team;
    this.#vocabSize = vocabSize;
    this.#restart = restart;
    this.#mostPages = mostPages;
    this.#pool = new PagePool(keepsPast);
    this.#owner = { pool: this.#pool, sequences: new Set(), cachedTokens: 0 };
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

  /** Pages of the KV cache that places hold; those of past sequences are among them. */
  get pagesHeld(): number {
    return this.#pool.count;
  }

  /** Tokens that sequences took over from sequences of the past. */
  get cachedTokens(): number {
    return this.#owner.cachedTokens;
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
    if (this.#failure) throw this.#failure;
    const measured = this.#withTeam((team) => team.measureRates());
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
   * An empty sequence.
   *
   * @throws {UsageError} for `keep` out of range, or in another mode
   */
  createSequence({ keep }: SequenceOptions = {}): Sequence {
    if (keep !== undefined) this.#checkKeep(keep);
    return new Sequence(this.#owner, keep);
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
   * token, and log Σ exp over all. Where a GPU holds the whole output head, it
   * picks them, and they alone come back from it; log Σ exp is then an f32.
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

  // deno-lint-ignore require-await -- what is refused is a rejection
  async #evaluate(
    asked:
      & Omit<Request, "tokens" | "logits" | "resolve" | "reject" | "done">
      & {
        readonly tokens: ArrayLike<number>;
      },
  ): Promise<Float32Array[]> {
    const { sequence, signal } = asked;
    signal?.throwIfAborted();
    if (this.#failure) throw this.#failure;
    this.#checkSequence(sequence);
    const { length } = asked.tokens;
    if (!(length > 0)) {
      throw new UsageError("Cannot evaluate an empty list of tokens");
    }
    this.#checkRoom(sequence, length);
    const tokens = this.#copyIds(asked.tokens, length);
    const { promise, resolve, reject } = Promise.withResolvers<
      Float32Array[]
    >();
    const logits: Float32Array[] = [];
    this.#queue.push({ ...asked, tokens, logits, resolve, reject, done: 0 });
    sequence.countWaiting(1);
    // Started in a later task, so that requests made together run together.
    this.#running ??= Promise.resolve().then(() => this.#drain());
    return promise;
  }

  /** Stops the places. Waits for the step that runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= new PlaceError("Cannot evaluate: the model is closed");
    await this.#running;
    await this.#team[Symbol.asyncDispose]();
  }

  #checkSequence(sequence: Sequence): void {
    if (!sequence.isOf(this.#owner)) {
      throw new UsageError("Cannot evaluate in a sequence of another model");
    }
    if (sequence.dropped) throw droppedError();
  }

  /** The caller's ids, checked; what becomes of theirs matters no more. */
  #copyIds(tokens: ArrayLike<number>, length: number): Int32Array {
    const ids = new Int32Array(length);
    for (let i = 0; i < length; i++) {
      const id = tokens[i];
      if (!Number.isInteger(id) || id < 0 || id >= this.#vocabSize) {
        throw new UsageError(
          `Cannot evaluate token ${id}: the vocabulary has ${this.#vocabSize}`,
        );
      }
      ids[i] = id;
    }
    return ids;
  }

  /** A sequence has room for so many tokens more. */
  #checkRoom(sequence: Sequence, count: number): void {
    let length = sequence.length + count;
    for (const { sequence: other, tokens, done } of this.#queue) {
      if (other === sequence) length += tokens.length - done;
    }
    if (length > this.contextSize) {
      throw new LimitError(
        `Cannot evaluate ${length} tokens in one sequence: the context has ${this.contextSize}`,
      );
    }
    if (pagesFor(length) > this.#mostPages) {
      throw new LimitError(
        `Cannot evaluate ${length} tokens in one sequence: they need ${
          pagesFor(length)
        } pages of keys and values, the limit is ${this.#mostPages}`,
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
    let isStuck = false;
    try {
      while (this.#queue.length > 0 && !this.#failure) {
        const shares = await this.#nextStep();
        if (shares.length > 0) {
          isStuck = false;
          await this.#step(shares);
          if (this.#queue.length > 0) await takeTurns(callersTurns);
        } else if (isStuck) this.#refuseLast();
        else if (this.#queue.length > 0) {
          isStuck = true;
          this.#isFull = false; // memory may be had by now
          // Who was answered last may be about to drop a sequence.
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
      }
    } catch (error) {
      this.#failure ??= asCulmError(error);
    } finally {
      this.#running = undefined;
      if (this.#failure) this.#rejectAll(this.#failure);
    }
  }

  /** What each sequence has in the next step; nothing where none has its pages. */
  async #nextStep(): Promise<Share[]> {
    this.#rejectGone();
    for (const [sequence, line] of linesOf(this.#queue)) {
      await this.#takePages(sequence, line);
    }
    this.#rejectGone();
    const lines = [...linesOf(this.#queue)];
    const counts = lines.map(([sequence, line]) => readyTokens(sequence, line));
    const slots = shareSlots(counts, this.#team.limits.tokens);
    return lines.flatMap(([sequence, line], i) =>
      slots[i] > 0
        ? {
          sequence,
          growth: sequence.plan(slots[i]),
          pieces: piecesOf(line, slots[i]),
        }
        : []
    );
  }

  /** Takes the pages that whole requests of a sequence need, one after another, as long as there are some. */
  async #takePages(
    sequence: Sequence,
    line: readonly Request[],
  ): Promise<void> {
    let count = 0;
    for (const { tokens, done } of line) {
      count += tokens.length - done;
      const missing = sequence.missingPages(count);
      if (missing === 0) continue;
      if (!await this.#makeRoom(missing) || sequence.dropped) return;
      sequence.takeAhead(count);
    }
  }

  /** Says whether so many pages can be taken, once more of them have been made where need be. */
  async #makeRoom(pages: number): Promise<boolean> {
    const pool = this.#pool;
    // As many as a full sequence has are made before any of the past's is given up.
    const full = pagesFor(this.contextSize);
    const wanted = pool.count + pages - pool.free;
    await this.#makePages(Math.min(full, wanted));
    await this.#makePages(pool.count + pages - pool.available);
    return pages <= pool.available;
  }

  async #makePages(count: number): Promise<void> {
    const most = Math.min(count, this.#mostPages);
    if (most <= this.#pool.count || this.#isFull) return;
    const held = await this.#withTeam((team) => team.reserve(most));
    this.#pool.grow(Math.min(held, this.#mostPages));
    this.#isFull = held < most;
  }

  async #step(shares: readonly Share[]): Promise<void> {
    const requests = shares.flatMap(({ pieces }) =>
      pieces.map(({ request }) => request)
    );
    const onTrace = requests.find(({ onTrace }) => onTrace)?.onTrace;
    const rows = await this.#withTeam((team) => {
      fillBatch(team.batch, shares);
      return team.run(onTrace);
    });
    const next = rows.values();
    for (const share of shares) this.#commit(share, next);
    // Who was served goes behind the others that wait.
    const served = new Set(shares.map(({ sequence }) => sequence));
    const waiting = this.#queue.filter(({ tokens, done }) =>
      done < tokens.length
    );
    const isServed = ({ sequence }: Request) => served.has(sequence);
    this.#queue = [
      ...waiting.filter((request) => !isServed(request)),
      ...waiting.filter(isServed),
    ];
  }

  /** Appends what a step evaluated to its sequence, and answers the requests that are done. */
  #commit(
    { sequence, growth, pieces }: Share,
    rows: Iterator<Float32Array>,
  ): void {
    for (const { request, tokens } of pieces) {
      const { want, logits } = request;
      for (let t = 1; t <= tokens.length; t++) {
        const isLast = request.done + t === request.tokens.length;
        if (want === "all" || (want === "last" && isLast)) {
          logits.push(rows.next().value!.slice());
        }
      }
    }
    if (sequence.dropped) return; // rejected before the next step
    const count = pieces.reduce((sum, { tokens }) => sum + tokens.length, 0);
    this.#tokens += count;
    sequence.commit(growth, pieces.map(({ tokens }) => tokens));
    for (const { request, tokens } of pieces) {
      request.done += tokens.length;
      if (request.done < request.tokens.length) continue;
      sequence.countWaiting(-1);
      request.resolve(request.logits);
    }
  }

  /**
   * Lets the team do something. Where that fails, another takes its place that
   * has evaluated all sequences, and does it.
   */
  async #withTeam<T>(act: (team: Team) => Promise<T>): Promise<T> {
    let reason: unknown;
    for (let failures = 0;;) {
      try {
        if (failures > 0) await this.#replaceTeam(reason);
        return await act(this.#team);
      } catch (error) {
        if (this.#failure || !this.#restart) throw error;
        if (++failures > mostRestarts) throw error;
        reason = error;
      }
    }
  }

  async #replaceTeam(reason: unknown): Promise<void> {
    const old = this.#team;
    await old[Symbol.asyncDispose]();
    this.#team = await this.#restart!(reason);
    this.#pastCounts.push(...old.counts);
    this.#pool.forgetPast();
    this.#isFull = false;
    await replay(this.#team, this.#owner);
    const { neuronCounts } = old;
    if (neuronCounts) this.#team.neuronCounts?.copyFrom(neuronCounts);
  }

  /** Refuses the requests that were aborted, and those of dropped sequences. */
  #rejectGone(): void {
    for (const request of [...this.#queue]) {
      const { signal, sequence } = request;
      if (signal?.aborted) this.#refuse(request, signal.reason);
      else if (sequence.dropped) this.#refuse(request, droppedError());
    }
  }

  /** Refuses the request that came last: there are no pages for any. */
  #refuseLast(): void {
    const { sequence, tokens, done } = this.#queue.at(-1)!;
    const missing = sequence.missingPages(tokens.length - done);
    this.#refuse(
      this.#queue.at(-1)!,
      new LimitError(
        `Cannot evaluate ${tokens.length} tokens: needs ${missing} more pages of keys and values, ${this.#pool.available} of ${this.#pool.count} can be had`,
      ),
    );
  }

  /** Refuses a request, and those that wait behind it on its sequence, which is as before it. */
  #refuse(request: Request, reason: unknown): void {
    const { sequence, done } = request;
    const at = this.#queue.indexOf(request);
    if (at < 0) return;
    const refused = this.#queue.filter((other, i) =>
      i >= at && other.sequence === sequence
    );
    this.#queue = this.#queue.filter((other) => !refused.includes(other));
    if (!sequence.dropped) sequence.cut(sequence.length - done);
    for (const { reject } of refused) {
      sequence.countWaiting(-1);
      reject(reason);
    }
  }

  #rejectAll(error: unknown): void {
    for (const request of [...this.#queue]) this.#refuse(request, error);
  }
}

/** How many tokens of a sequence's requests have their pages. */
function readyTokens(sequence: Sequence, line: readonly Request[]): number {
  let ready = 0;
  for (const { tokens, done } of line) {
    const count = ready + tokens.length - done;
    if (sequence.missingPages(count) > 0) break;
    ready = count;
  }
  return ready;
}

async function takeTurns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined;
}

function droppedError(): UsageError {
  return new UsageError("Cannot evaluate in a sequence that was dropped");
}

function asCulmError(error: unknown): CulmError {
  if (error instanceof CulmError) return error;
  const { message } = error as Error;
  return new PlaceError(`Cannot go on: ${message}`, { cause: error });
}
