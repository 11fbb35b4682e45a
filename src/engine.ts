/**
 * The coordinator: takes tokens of any number of sequences, puts them into
 * steps, and gives logits back.
 *
 * @module
 */
import { LimitError, PlaceError, UsageError } from "./errors.ts";
import { PagePool, Sequence } from "./sequence.ts";
import type { Rates } from "./plan/border.ts";
import type { Profile } from "./plan/profile.ts";
import type { NormedStates } from "./places/normed_states.ts";
import { type PlaceStats, sumCounts } from "./places/stats.ts";
import type { Team } from "./places/team.ts";

/** For which of the evaluated tokens logits are given. */
export type WantLogits = "none" | "last" | "all";

/** Tokens of one sequence that wait for their step. */
interface Request {
  readonly sequence: Sequence;
  readonly tokens: ArrayLike<number>;
  readonly want: WantLogits;
  readonly signal?: AbortSignal;
  readonly logits: Float32Array[];
  readonly resolve: (logits: Float32Array[]) => void;
  readonly reject: (error: unknown) => void;
  done: number;
}

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
  readonly #team: Team;
  readonly #vocabSize: number;
  readonly #pool = new PagePool();
  readonly #queue: Request[] = [];
  #running?: Promise<void>;
  #closed = false;
  #tokens = 0;

  /** `team` holds the model; the engine closes it. */
  constructor(team: Team, vocabSize: number) {
    this.#team = team;
    this.#vocabSize = vocabSize;
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
    return sumCounts(this.#team.counts, this.#tokens);
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
   * @throws {UsageError} where the model was loaded without `keepNormed`
   */
  get normedStates(): NormedStates {
    const { normedStates } = this.#team;
    if (!normedStates) {
      throw new UsageError(
        "Cannot give normed states: the model was loaded without keepNormed",
      );
    }
    return normedStates;
  }

  /** An empty sequence. */
  createSequence(): Sequence {
    return new Sequence(this.#pool);
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
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#check(sequence, tokens);
      this.#queue.push({
        sequence,
        tokens,
        want,
        signal,
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

  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        this.#dropAborted();
        const requests = this.#fillBatch();
        if (requests.length === 0) continue;
        this.#distribute(requests, await this.#team.run());
      }
    } catch (error) {
      this.#rejectAll(error);
    } finally {
      this.#running = undefined;
    }
  }

  #dropAborted(): void {
    for (const request of [...this.#queue]) {
      if (!request.signal?.aborted) continue;
      this.#queue.splice(this.#queue.indexOf(request), 1);
      request.reject(request.signal.reason);
    }
  }

  /** Puts as many waiting tokens into the batch as it holds; gives the request of each. */
  #fillBatch(): Request[] {
    const { batch, limits } = this.#team;
    const owners: Request[] = [];
    const rows = new Map<Sequence, number>();
    batch.copyCount = 0;
    for (const request of this.#queue) {
      const { sequence, tokens, want } = request;
      const room = limits.tokens - owners.length;
      const last = Math.min(tokens.length, request.done + room);
      for (; request.done < last; request.done++) {
        const t = owners.push(request) - 1;
        if (!rows.has(sequence)) rows.set(sequence, rows.size);
        batch.tokens[t] = tokens[request.done];
        batch.positions[t] = sequence.length;
        batch.sequences[t] = rows.get(sequence)!;
        const isLast = request.done === tokens.length - 1;
        batch.wantLogits[t] = Number(
          want === "all" || (want === "last" && isLast),
        );
        sequence.advance((from, to) => {
          batch.copies[2 * batch.copyCount] = from;
          batch.copies[2 * batch.copyCount + 1] = to;
          batch.copyCount++;
        });
      }
    }
    for (const [sequence, row] of rows) {
      batch.pages.set(sequence.pages, row * batch.pagesPerSequence);
    }
    batch.length = owners.length;
    batch.pageCount = this.#pool.count;
    this.#tokens += owners.length;
    return owners;
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
