/**
 * The loop of steps: takes what waits, as far as there are pages for it, lets
 * the team evaluate it, and answers.
 */
import { CulmError, MemoryError, PlaceError } from "../errors.ts";
import type { LastingTeam } from "./lasting_team.ts";
import type { PagePool } from "./page_pool.ts";
import {
  countOf,
  fillBatch,
  isPrompt,
  type Line,
  piecesOf,
  type Request,
  type RequestPiece,
  type Share,
  shareSlots,
} from "./scheduler.ts";
import { droppedError, type Sequence } from "./sequence.ts";
import { pagesFor } from "../places/batch.ts";
import { PromptPace } from "./prompt_pace.ts";
import { StepCosts } from "./step_costs.ts";
import { LayerCounts } from "../places/stats.ts";
import type { Team } from "../places/team.ts";

/**
 * Turns of the microtask queue that those have whose tokens were evaluated, to
 * request the next ones before a step is made of what others wait for.
 */
const callersTurns = 16;

interface StepShare extends Share<RequestPiece> {
  readonly isPrompt: boolean;
}

/** Runs steps as long as something waits. */
export class StepLoop {
  readonly #pool: PagePool;
  /** The requests of each sequence in their order; who was served last comes last */
  readonly #lines = new Map<Sequence, Request[]>();
  /** What is to be done between two steps */
  readonly #acts: (() => Promise<void>)[] = [];
  #running?: Promise<void>;
  /** Resolved after the next step, where somebody waits for it */
  #stepped?: PromiseWithResolvers<void>;
  /** Why nothing can be evaluated any more */
  #failure?: CulmError;
  /** Whether places have refused to make more pages */
  #isFull = false;
  /** Tokens that have been evaluated */
  tokens = 0;
  readonly costs: StepCosts = new StepCosts();
  readonly #pace: PromptPace = new PromptPace(this.costs);
  /** What places had counted before a step, and after it */
  readonly #before: LayerCounts;
  readonly #after: LayerCounts;

  /** Evaluates with `team`, in `mostPages` pages at most. */
  constructor(readonly team: LastingTeam, readonly mostPages: number) {
    this.#pool = team.owner.pool;
    const { layers } = team.owner;
    this.#before = new LayerCounts(layers);
    this.#after = new LayerCounts(layers);
  }

  /** Tokens that wait to be appended to a sequence. */
  waiting(sequence: Sequence): number {
    return (this.#lines.get(sequence) ?? []).reduce(
      (sum, { tokens, done }) => sum + tokens.length - done,
      0,
    );
  }

  /** Done when a step has been run. */
  nextStep(): Promise<void> {
    this.#stepped ??= Promise.withResolvers();
    return this.#stepped.promise;
  }

  /** Throws where nothing can be evaluated any more. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Takes a request; it is answered by its `answer`. */
  push(request: Request): void {
    const { sequence } = request;
    sequence.countWaiting(1);
    const line = this.#lines.get(sequence);
    if (line) line.push(request);
    else this.#lines.set(sequence, [request]);
    this.#start();
  }

  /** Lets the team do something else, between two steps. */
  between<T>(act: (team: Team) => Promise<T>): Promise<T> {
    return this.#between(() => this.team.do(act));
  }

  /**
   * Appends tokens to a sequence whose keys and values are known: those of
   * `tokens`, up to a page's end. The last page has `rows`, as a team reads them.
   */
  append(
    sequence: Sequence,
    tokens: readonly number[],
    rows: Uint8Array,
  ): Promise<void> {
    return this.#between(async () => {
      const count = tokens.length;
      this.#isFull = false; // memory may be had by now
      if (!await this.#makeRoom(sequence.missingPages(count))) {
        throw this.#noPages(sequence, count);
      }
      sequence.takeAhead(count);
      const growth = sequence.plan(count);
      const page = growth.pages.at(-1)!;
      await this.team.do((team) => team.writePage(page, rows));
      sequence.commit(growth, [tokens]);
    });
  }

  #between<T>(act: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#acts.push(async () => {
      try {
        this.check();
        resolve(await act());
      } catch (error) {
        reject(error);
      }
    });
    this.#start();
    return promise;
  }

  #start(): void {
    // In a later task, so that requests made together run together.
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  /** Refuses what waits, once the step that runs is done. */
  async close(): Promise<void> {
    this.#failure ??= new PlaceError("Cannot evaluate: the model is closed");
    this.team.restart = undefined;
    await this.#running;
  }

  async #run(): Promise<void> {
    let isStuck = false;
    try {
      while (this.#lines.size + this.#acts.length > 0 && !this.#failure) {
        await this.#acts.shift()?.();
        const shares = await this.#nextStep();
        if (shares.length > 0) {
          isStuck = false;
          await this.#step(shares);
          // Who was answered may have the next token in the next step.
          for (let i = 0; this.#lines.size > 0 && i < callersTurns; i++) {
            await undefined;
          }
        } else if (this.#lines.size === 0) continue;
        else if (isStuck) {
          isStuck = false;
          this.#refuseLast();
        } else {
          isStuck = true;
          this.#isFull = false; // memory may be had by now
          // Who was answered last may be about to drop a sequence.
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
      }
    } catch (error) {
      this.#failure ??= error instanceof CulmError
        ? error
        : new PlaceError(`Cannot go on: ${(error as Error).message}`, {
          cause: error,
        });
    } finally {
      this.#running = undefined;
      const lines = this.#failure ? this.#lines.keys() : [];
      for (const sequence of lines) this.#refuse(sequence, 0, this.#failure);
      // Refused too, where something has failed.
      for (const act of this.#acts.splice(0)) act();
    }
  }

  /** What each sequence has in the next step; nothing where none has its pages. */
  async #nextStep(): Promise<StepShare[]> {
    this.#refuseGone();
    for (const [sequence, line] of this.#lines) {
      if (sequence.missingPages(this.waiting(sequence)) > 0) {
        await this.#takePages(sequence, line);
      }
    }
    this.#refuseGone();
    // Who has no pages yet does not come first in line.
    const lines = [...this.#lines].map(([sequence, line]) => {
      const tokens = readyTokens(sequence, line);
      return { sequence, line, tokens, isPrompt: isPrompt(line, tokens) };
    }).filter(({ tokens }) => tokens > 0);
    const { tokens } = this.team.current.options.limits;
    const slots = shareSlots(lines, this.#pace.slots(lines, tokens));
    return lines.flatMap(({ sequence, line, isPrompt }, i) => {
      if (slots[i] === 0) return [];
      const growth = sequence.plan(slots[i]), first = sequence.length;
      const pieces = piecesOf(line, slots[i]);
      return [{ sequence, first, growth, pieces, isPrompt }];
    });
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
    const { contextSize } = this.team.current.options.limits;
    const full = pagesFor(contextSize);
    await this.#makePages(Math.min(full, pool.count + pages - pool.free));
    await this.#makePages(pool.count + pages - pool.available);
    return pages <= pool.available;
  }

  async #makePages(count: number): Promise<void> {
    const most = Math.min(count, this.mostPages);
    if (most <= this.#pool.count || this.#isFull) return;
    const held = await this.team.do((team) => team.reserve(most));
    this.#pool.grow(Math.min(held, this.mostPages));
    this.#isFull = held < most;
  }

  async #step(shares: readonly StepShare[]): Promise<void> {
    const { team } = this;
    const start = performance.now();
    this.#before.setSum(team.counts);
    const rows = await team.do((team) =>
      team.run(fillBatch(team.batch, shares))
    );
    const ms = performance.now() - start;
    const { length: tokens } = team.current.batch;
    const lines = shares.map(lineOf);
    this.#pace.learn(lines, ms);
    this.costs.add(tokens, ms, shares.length, countOf(lines).prompts);
    this.#after.setSum(team.counts);
    const counts = { before: this.#before, after: this.#after, tokens };
    const next = rows.values();
    for (const share of shares) {
      share.sequence.countStep(counts, tokensOf(share));
      this.#commit(share, next);
    }
    this.#stepped?.resolve();
    this.#stepped = undefined;
    await this.team.learn(ms);
  }

  /** Appends what a step evaluated to its sequence, and answers the requests that are done. */
  #commit(
    { sequence, growth, pieces }: StepShare,
    rows: Iterator<Float32Array>,
  ): void {
    for (const { request, wanted } of pieces) {
      for (let i = 0; i < wanted; i++) {
        request.logits.push(rows.next().value!.slice());
      }
    }
    const line = this.#lines.get(sequence);
    if (sequence.dropped || !line) return; // refused before the next step
    sequence.commit(growth, pieces.map(({ tokens }) => tokens));
    for (const { request, tokens } of pieces) {
      this.tokens += tokens.length;
      request.done += tokens.length;
      if (request.done < request.tokens.length) continue;
      line.shift();
      sequence.countWaiting(-1);
      request.answer.resolve(request.logits);
    }
    // Behind the others that wait.
    this.#lines.delete(sequence);
    if (line.length > 0) this.#lines.set(sequence, line);
  }

  /** Refuses the requests that were aborted, and those of dropped sequences. */
  #refuseGone(): void {
    for (const [sequence, line] of this.#lines) {
      if (sequence.dropped) this.#refuse(sequence, 0, droppedError());
      const at = line.findIndex(({ signal }) => signal?.aborted);
      if (at >= 0) this.#refuse(sequence, at, line[at].signal!.reason);
    }
  }

  /** Refuses the request that came last: there are no pages for any. */
  #refuseLast(): void {
    const [sequence, line] = [...this.#lines].at(-1)!;
    const error = this.#noPages(sequence, this.waiting(sequence));
    this.#refuse(sequence, line.length - 1, error);
  }

  #noPages(sequence: Sequence, tokens: number): MemoryError {
    const { count, available } = this.#pool;
    const missing = sequence.missingPages(tokens);
    return new MemoryError(
      `Cannot evaluate ${tokens} tokens: needs ${missing} more pages of keys and values, ${available} of ${count} can be had`,
    );
  }

  /** Refuses a sequence's requests from one on; the sequence is as it was before that. */
  #refuse(sequence: Sequence, from: number, reason: unknown): void {
    const line = this.#lines.get(sequence)!;
    const refused = line.splice(from);
    if (line.length === 0) this.#lines.delete(sequence);
    if (!sequence.dropped) sequence.cut(sequence.length - refused[0].done);
    for (const { answer } of refused) {
      sequence.countWaiting(-1);
      answer.reject(reason);
    }
  }
}

/** How many tokens a sequence has in a step. */
function tokensOf({ pieces }: StepShare): number {
  return pieces.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

function lineOf(share: StepShare): Line {
  return { tokens: tokensOf(share), isPrompt: share.isPrompt };
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
