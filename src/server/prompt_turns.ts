/**
 * Prompts that begin alike and come together: the first is evaluated, the others
 * wait until what they share is there to be taken over.
 */
import { commonLength } from "./choice_scores.ts";
import type { Engine } from "../engine/engine.ts";
import { untilAborted } from "../platform/abort.ts";

/** The fewest tokens that are worth to be waited for: they take a step's time, about. */
const fewestShared = 64;

/** A prompt that is being evaluated. */
interface Running {
  readonly prompt: readonly number[];
  readonly done: Promise<void>;
}

/** Which prompts of each engine are being evaluated. */
export class PromptTurns {
  readonly #running = new WeakMap<Engine, Set<Running>>();

  /**
   * Waits as long as another prompt evaluates what this one begins with. To be
   * disposed of when the prompt has been evaluated.
   *
   * @throws what `signal` was aborted with
   */
  async begin(
    engine: Engine,
    prompt: readonly number[],
    signal: AbortSignal,
  ): Promise<Disposable> {
    let running = this.#running.get(engine);
    if (!running) this.#running.set(engine, running = new Set());
    for (;;) {
      const known = engine.countKnown(prompt);
      const other = [...running].find((other) =>
        commonLength([prompt, other.prompt]) - known >= fewestShared
      );
      if (!other) break;
      const next = Promise.race([other.done, engine.nextStep()]);
      await untilAborted(next, signal);
    }
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const own = { prompt, done };
    running.add(own);
    return {
      [Symbol.dispose]() {
        running.delete(own);
        resolve();
      },
    };
  }
}
