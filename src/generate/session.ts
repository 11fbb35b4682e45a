/**
 * A text that is continued again and again: a chat, for one.
 *
 * @module
 */
import type { Engine } from "../engine/engine.ts";
import type { Logits } from "../sampling/mod.ts";
import type { Sequence } from "../engine/sequence.ts";

/** A sequence and the ids that it holds. */
export class Session implements Disposable {
  readonly #engine: Engine;
  readonly #sequence: Sequence;
  readonly #ids: number[] = [];

  /** An empty session. */
  constructor(engine: Engine) {
    this.#engine = engine;
    this.#sequence = engine.createSequence();
  }

  /** The ids evaluated so far. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /**
   * Keeps what `prompt` and the session have in common, and forgets the rest.
   * Gives the number of tokens kept; one at least is left to evaluate.
   */
  reuse(prompt: readonly number[]): number {
    const longest = Math.min(this.#sequence.length, prompt.length - 1);
    let kept = 0;
    while (kept < longest && prompt[kept] === this.#ids[kept]) kept++;
    this.#ids.length = kept;
    this.#sequence.truncate(kept);
    return kept;
  }

  /** Evaluates `ids` and gives the logits after the last of them: all, or the `top` largest. */
  async append(
    ids: readonly number[],
    { top = 0, signal }: { top?: number; signal?: AbortSignal } = {},
  ): Promise<Logits> {
    this.#ids.push(...ids);
    const sequence = this.#sequence;
    if (top > 0) {
      return await this.#engine.evaluateTop(sequence, ids, top, signal);
    }
    const [logits] = await this.#engine.evaluate(sequence, ids, "last", signal);
    return logits;
  }

  /** Gives its memory back. */
  [Symbol.dispose](): void {
    this.#sequence.drop();
  }
}
