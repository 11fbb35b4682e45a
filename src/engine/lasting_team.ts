/**
 * A team that outlasts its places: where one dies, another team takes over, and
 * computes the keys and values anew. Where only the number of threads changes,
 * it is given those that are there.
 */
import { MemoryError } from "../errors.ts";
import { pagePositions } from "../places/batch.ts";
import type { PagePool } from "./page_pool.ts";
import { fillBatch } from "./scheduler.ts";
import type { SequenceOwner } from "./sequence.ts";
import type { NeuronCounts } from "../places/neuron_counts.ts";
import type { LayerCounts } from "../places/stats.ts";
import type { Team } from "../places/team.ts";
import type { ThreadChoice } from "./thread_choice.ts";

/**
 * Starts a team of the same limits in place of one that failed for a reason, or
 * that is to have another number of threads: the reason is then the choice.
 */
export type Restart = (reason: unknown) => Promise<Team>;

/** Teams that may fail one after another before that counts as the end. */
const mostRestarts = 3;

/** The team at hand, and how to come by the next. */
export class LastingTeam {
  /** Counters of teams that are gone */
  readonly #pastCounts: LayerCounts[] = [];

  /** Begins with `current`; where `restart` is left out, the team at hand is the last. */
  constructor(
    public current: Team,
    readonly owner: SequenceOwner,
    public restart?: Restart,
    /** Chooses the number of threads, where nobody has fixed it */
    readonly threads?: ThreadChoice,
  ) {}

  /** Counters of each place that was ever there. */
  get counts(): readonly LayerCounts[] {
    return [...this.current.counts, ...this.#pastCounts];
  }

  /**
   * Lets the team do something. Where that fails, another team evaluates what
   * all sequences hold, and does it.
   *
   * @throws what the last of some teams failed by
   */
  do<T>(act: (team: Team) => Promise<T>): Promise<T> {
    return this.#try(act);
  }

  /** Takes the time of a step, and another number of threads where that is faster. */
  async learn(ms: number): Promise<void> {
    const { threads } = this;
    if (!threads || !this.restart) return;
    const lostMs = this.current.takeLostMs?.() ?? 0;
    if (!await threads.changesAfter({ ms, lostMs })) return;
    const start = performance.now();
    await this.#try(() => Promise.resolve(), threads);
    threads.changeMs = performance.now() - start;
  }

  /** Where there is a `reason`, with another team from the beginning. */
  async #try<T>(
    act: (team: Team) => Promise<T>,
    reason?: unknown,
  ): Promise<T> {
    const { neuronCounts } = this.current;
    for (let failures = 0; failures <= mostRestarts; failures++) {
      try {
        if (reason !== undefined) await this.#replace(reason, neuronCounts);
        return await act(this.current);
      } catch (error) {
        reason = error;
        if (!this.restart) break;
      }
    }
    throw reason;
  }

  async #replace(reason: unknown, neuronCounts?: NeuronCounts): Promise<void> {
    const { current: old, owner } = this;
    const pages = reason === this.threads
      ? await readPages(old, owner.pool)
      : undefined;
    await old[Symbol.asyncDispose]();
    const team = this.current = await this.restart!(reason);
    this.#pastCounts.push(...old.counts);
    await reserve(team, owner.pool.count);
    if (pages) await writePages(team, pages);
    else {
      owner.pool.forgetPast();
      await replay(team, owner);
    }
    // What was computed again is not counted again.
    if (neuronCounts) team.neuronCounts?.copyFrom(neuronCounts);
  }
}

/** @throws {MemoryError} where the team cannot hold as many pages */
async function reserve(team: Team, pages: number): Promise<void> {
  const held = await team.reserve(pages);
  if (held < pages) {
    throw new MemoryError(
      `Cannot have ${pages} pages of keys and values again: there is memory for ${held}`,
    );
  }
}

/** Keys and values of each page that holds some, those of the past too. */
async function readPages(
  team: Team,
  pool: PagePool,
): Promise<Map<number, Uint8Array>> {
  const pages = new Map<number, Uint8Array>();
  for (const page of pool.filled) {
    pages.set(page, await team.readPage(page, pagePositions));
  }
  return pages;
}

async function writePages(
  team: Team,
  pages: Map<number, Uint8Array>,
): Promise<void> {
  for (const [page, rows] of pages) {
    await team.writePage(page, rows);
    pages.delete(page); // Its memory is needed where the cache is large.
  }
}

/**
 * Evaluates the tokens of every sequence into the pages that it holds, each
 * page once, however many sequences share it.
 */
async function replay(
  team: Team,
  { sequences }: SequenceOwner,
): Promise<void> {
  /** Positions of each page that are filled */
  const filled = new Map<number, number>();
  for (const sequence of sequences) {
    const { length } = sequence;
    let position = 0;
    /** Whether another sequence has filled the page up to here. */
    const isFilled = () => {
      const page = sequence.pages[Math.floor(position / pagePositions)];
      return position % pagePositions < (filled.get(page) ?? 0);
    };
    while (position < length && isFilled()) position++;
    while (position < length) {
      const first = position, tokens: number[] = [];
      const end = Math.min(first + team.options.limits.tokens, length);
      while (position < end) tokens.push(sequence.tokenAt(position++));
      const pieces = [{ tokens, wanted: 0 }];
      fillBatch(team.batch, [{ sequence, first, growth: sequence, pieces }]);
      await team.run();
    }
    sequence.pages.forEach((page, i) => {
      const positions = Math.min(pagePositions, length - i * pagePositions);
      filled.set(page, Math.max(positions, filled.get(page) ?? 0));
    });
  }
}
