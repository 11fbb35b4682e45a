/**
 * Requests to evaluate tokens, on their way into steps.
 *
 * @module
 */
import type { Team } from "../places/team.ts";
import type { OnTrace } from "../places/trace.ts";
import type { PagePool, Sequence } from "./sequence.ts";

/** For which of the evaluated tokens logits are given. */
export type WantLogits = "none" | "last" | "all";

/** Tokens of one sequence that wait for their step. */
export interface Request {
  readonly sequence: Sequence;
  readonly tokens: ArrayLike<number>;
  readonly want: WantLogits;
  /** How many of the largest logits are wanted in place of all; 0 = all */
  readonly top: number;
  readonly signal?: AbortSignal;
  /** Told what the places did in each of its steps */
  readonly onTrace?: OnTrace;
  readonly logits: Float32Array[];
  readonly resolve: (logits: Float32Array[]) => void;
  readonly reject: (error: unknown) => void;
  done: number;
}

/** Puts as many waiting tokens into the batch as it holds; gives the request of each. */
export function fillBatch(
  { batch, limits }: Team,
  queue: readonly Request[],
  pool: PagePool,
): Request[] {
  const owners: Request[] = [];
  const rows = new Map<Sequence, number>();
  batch.copyCount = 0;
  for (const request of queue) {
    const { sequence, tokens, want } = request;
    const room = limits.tokens - owners.length;
    const last = Math.min(tokens.length, request.done + room);
    for (; request.done < last; request.done++) {
      const t = owners.push(request) - 1;
      if (!rows.has(sequence)) rows.set(sequence, rows.size);
      batch.tokens[t] = tokens[request.done];
      batch.positions[t] = sequence.length;
      batch.sequences[t] = rows.get(sequence)!;
      batch.keep[t] = sequence.keep ?? 0;
      const isLast = request.done === tokens.length - 1;
      batch.wantLogits[t] = Number(
        want === "all" || (want === "last" && isLast),
      );
      sequence.advance(tokens[request.done], (from, to) => {
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
  batch.top = topOf(owners.filter((_, t) => batch.wantLogits[t]));
  batch.pageCount = pool.count;
  return owners;
}

/** How many of the largest logits are enough for all of these; 0 where one wants them all. */
function topOf(requests: readonly Request[]): number {
  const counts = requests.map(({ top }) => top);
  return counts.includes(0) ? 0 : Math.max(0, ...counts);
}
