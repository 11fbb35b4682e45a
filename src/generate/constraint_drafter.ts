/** Drafts what a constraint forces: the names of a schema's properties, for one. */
import type { Constraint } from "../constrain/constraint.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { draftLength, Guesses } from "./draft_length.ts";
import type { DraftAsk, Drafter } from "./drafter.ts";

/**
 * Where a text can go on in one way alone, drafts the tokens that spell it;
 * which of them a model takes is still its choice. Elsewhere another drafter
 * guesses, as far as the constraint allows.
 */
export class ConstraintDrafter implements Drafter {
  readonly #guesses = new Guesses([0.8]);
  /** What was guessed last, and was not told yet whether it is right */
  #forced: readonly number[] = [];

  /** For a text that stands where `constraint` does. */
  constructor(
    readonly constraint: Constraint,
    readonly tokenizer: Tokenizer,
    readonly rest: Drafter,
  ) {}

  push(id: number): void {
    const [guess, ...later] = this.#forced;
    if (guess !== undefined) {
      this.#guesses.add(0, guess === id);
      this.#forced = guess === id ? later : [];
    }
    this.rest.push(id);
  }

  async draft(ask: DraftAsk): Promise<readonly number[]> {
    // What is forced need not be found where no draft pays.
    if (this.#length(ask, ask.most) > 0) {
      const bytes = this.constraint.forcedBytes();
      this.#forced = tokensBehind(this.tokenizer, bytes);
      const length = this.#length(ask, this.#forced.length);
      if (length > 0) return this.#forced.slice(0, length);
    }
    const guess = await this.rest.draft(ask);
    // What may not come next need not be evaluated.
    const allowed = guess.length > 0 ? this.constraint.countAllowed(guess) : 0;
    return guess.slice(0, allowed);
  }

  /** How many of so many tokens that are forced pay. */
  #length({ costs, least, most }: DraftAsk, forced: number): number {
    const chance = this.#guesses.of(0);
    return draftLength(
      1,
      { of: () => chance },
      costs,
      least,
      Math.min(most, forced),
    );
  }

  [Symbol.dispose](): void {
    this.rest[Symbol.dispose]();
  }
}

/** What stands before a text that is encoded, so that it does not count as a beginning. */
const before = "\n";

/** The tokens of bytes within a text; none where the vocabulary joins them with what stands before. */
function tokensBehind(tokenizer: Tokenizer, bytes: Uint8Array): number[] {
  // Without a character that is incomplete.
  const text = new TextDecoder().decode(bytes, { stream: true });
  if (text === "") return [];
  const ids = tokenizer.encode(before + text, { addSpecial: false });
  const size = (id: number) => tokenizer.pieceBytes(id).length;
  let rest = ids.reduce((sum, id) => sum + size(id), 0) -
    new TextEncoder().encode(text).length;
  let first = 0;
  while (rest > 0) rest -= size(ids[first++]);
  return rest === 0 ? ids.slice(first) : [];
}
