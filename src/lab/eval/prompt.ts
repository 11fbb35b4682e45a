import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import type { Candidate, Item } from "./task.ts";

/** Ids of which the last ones are scored. */
export interface ScoredIds {
  /** Context and continuation */
  readonly ids: readonly number[];
  /** Where the continuation begins, 1 at least */
  readonly from: number;
}

/** What examples and questions are parted by. */
const separator = "\n\n";

/** Examples with their answers, each with the separator behind it. */
export function preambleOf(shots: readonly Item[]): string {
  return shots.map((shot) => solved(shot) + separator).join("");
}

function solved(item: Item): string {
  switch (item.kind) {
    case "choice": {
      const { context, continuation } = item.candidates[item.gold];
      return context + continuation;
    }
    case "cloze":
      return item.context + item.continuation;
    case "generation":
    case "program":
      return item.context + item.solution;
  }
}

/** The ids of a text, begun as a text begins. */
export function promptIds(tokenizer: Tokenizer, text: string): number[] {
  const { addBos, bos } = tokenizer;
  const ids = tokenizer.encode(text, { addSpecial: false });
  return addBos && bos !== undefined ? [bos, ...ids] : ids;
}

/**
 * The ids of a candidate. The whole is made into ids at once, and what it has
 * more of them than the context alone is the continuation's: a border inside a
 * token goes to the context. Ids that the context of the model has no room for
 * are dropped from the start.
 */
export function candidateIds(
  tokenizer: Tokenizer,
  { context, continuation }: Candidate,
  contextSize: number,
): ScoredIds {
  const begin = context.trimEnd();
  const whole = promptIds(tokenizer, context + continuation);
  const ids = whole.slice(-(contextSize + 1));
  const before = promptIds(tokenizer, begin).length -
    (whole.length - ids.length);
  return { ids, from: Math.max(1, Math.min(before, ids.length - 1)) };
}
