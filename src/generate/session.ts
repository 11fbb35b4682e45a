/** A text that is continued again and again: a chat, for one. */
import type { Engine } from "../engine/engine.ts";
import { UsageError } from "../errors.ts";
import type { Logits } from "../sampling/logits.ts";
import type { TokenMask } from "../sampling/token_mask.ts";
import type { Sequence } from "../engine/sequence.ts";
import type { PlaceStats } from "../places/stats.ts";

/** Which logits are wanted of tokens that are evaluated. */
export interface LogitsOptions {
  /** How many of the largest logits are wanted; 0 = all */
  readonly top?: number;
  /**
   * The largest are those that it allows after the last of the tokens; of a draft, all are given
   *
   * @internal
   */
  readonly mask?: Promise<TokenMask>;
  /** Whether log Σ exp over all logits is wanted beside the largest; true where left out */
  readonly needsSum?: boolean;
  /** Ends the evaluation */
  readonly signal?: AbortSignal;
}

/** A sequence and the ids that it holds. One text at a time goes on in it. */
export class Session implements Disposable {
  readonly #engine: Engine;
  readonly #sequence: Sequence;
  #ids: number[] = [];
  #isBusy = false;

  /** An empty session, or one of what `sequence` holds. */
  constructor(engine: Engine, sequence: Sequence = engine.createSequence()) {
    this.#engine = engine;
    this.#sequence = sequence;
    const { length } = sequence;
    this.#ids = Array.from({ length }, (_, i) => sequence.tokenAt(i));
  }

  /**
   * Takes the session for one text, until what it gives is disposed of.
   *
   * @throws {UsageError} where another text has it, it is another engine's, or it was disposed of
   */
  take(engine: Engine): Disposable {
    if (engine !== this.#engine) {
      throw new UsageError("Cannot use a session of another model");
    }
    if (this.#sequence.dropped) {
      throw new UsageError("Cannot use a session that was disposed of");
    }
    if (this.#isBusy) {
      throw new UsageError(
        "Cannot use a session while another text is generated in it",
      );
    }
    this.#isBusy = true;
    return { [Symbol.dispose]: () => this.#isBusy = false };
  }

  /**
   * Its past as it is now, or the first `tokens` of it; the caller drops it.
   *
   * @throws {UsageError} as {@linkcode take} does, or where it has fewer
   */
  fork(engine: Engine, tokens: number = this.#ids.length): Sequence {
    using _ = this.take(engine);
    const copy = this.#sequence.fork();
    try {
      copy.truncate(tokens);
      return copy;
    } catch (error) {
      copy.drop();
      throw error;
    }
  }

  /** The ids evaluated so far. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** What was computed and read for its tokens since it was made. */
  stats(): PlaceStats {
    return this.#sequence.stats();
  }

  /**
   * Keeps what `prompt` and the session have in common, or with `fromPast` what
   * another text of the past has, and forgets the rest. Gives the number of
   * tokens kept; one at least is left to evaluate.
   */
  reuse(prompt: readonly number[], fromPast: boolean): number {
    this.#sequence.resume(prompt.slice(0, -1), fromPast);
    this.#ids = prompt.slice(0, this.#sequence.length);
    return this.#ids.length;
  }

  /** Evaluates `ids` and gives the logits after the last of them: all, or the `top` largest. */
  async append(
    ids: readonly number[],
    ask: LogitsOptions = {},
  ): Promise<Logits> {
    return (await this.appendWithDraft(ids, [], ask))[0];
  }

  /**
   * Evaluates `ids` and behind them a draft, whose tokens are the session's once
   * they are accepted. Gives the logits after the last of `ids`, and after each
   * of the draft.
   *
   * @internal
   */
  async appendWithDraft(
    ids: readonly number[],
    draft: readonly number[],
    { top = 0, mask, needsSum, signal }: LogitsOptions = {},
  ): Promise<Logits[]> {
    this.forgetDraft();
    const engine = this.#engine, sequence = this.#sequence;
    const tokens = [...ids, ...draft];
    const want = draft.length > 0 ? "all" : "last";
    const isPicked = top > 0 && (!mask || draft.length === 0);
    const logits = isPicked && mask
      ? [await engine.evaluateMasked(sequence, tokens, top, mask, signal)]
      : isPicked
      ? await engine.evaluateTops(
        sequence,
        tokens,
        top,
        want,
        signal,
        needsSum,
      )
      : await engine.evaluate(sequence, tokens, want, signal);
    for (const id of ids) this.#ids.push(id);
    return logits.slice(-1 - draft.length);
  }

  /**
   * Makes the draft's next token, which is `id`, one of the session's.
   *
   * @internal
   */
  accept(id: number): void {
    this.#ids.push(id);
  }

  /**
   * Forgets what is left of a draft.
   *
   * @internal
   */
  forgetDraft(): void {
    const { length } = this.#ids;
    if (this.#sequence.length > length) this.#sequence.truncate(length);
  }

  /** Gives its memory back. */
  [Symbol.dispose](): void {
    this.#sequence.drop();
  }
}
