/**
 * How many tokens of prompts go into a step beside texts that are being written:
 * so many that these go on at half their pace, however long a prompt is, or at a
 * third where more prompts wait; but one at least.
 */
import { countOf, type Line } from "./scheduler.ts";
import { type StepCosts, usualSlowdown } from "./step_costs.ts";

/** How many times as long a step may take for all the prompts that wait. */
const mostSlowdown = 3;
/** How much the last step weighs in the mean of what a token of a prompt takes. */
const newest = 0.2;

/** Learns from each step what a token of a prompt adds to it. */
export class PromptPace {
  /** ms of a prompt's token beside texts that are being written; undefined until one was measured */
  #tokenMs?: number;

  /** `costs` says what steps without prompts take. */
  constructor(readonly costs: StepCosts) {}

  /** Tokens that a step takes, `most` at most, of what waits. */
  slots(waiting: readonly Line[], most: number): number {
    const { texts, next, prompts } = countOf(waiting);
    const shortest = this.costs.ms(texts);
    if (texts === 0 || prompts === 0 || shortest === undefined) return most;
    const tokenMs = this.#tokenMs ?? shortest / texts;
    // As long as each of them has its part of the time, where that is more.
    const slowdown = Math.max(usualSlowdown, waiting.length / texts);
    const longest = Math.min(slowdown, mostSlowdown) * shortest;
    const leftMs = longest - this.costs.ms(next)!;
    return Math.min(most, next + Math.max(1, Math.floor(leftMs / tokenMs)));
  }

  /** Takes the time of a step, of such tokens of each sequence. */
  learn(taken: readonly Line[], ms: number): void {
    const { next, prompts } = countOf(taken);
    const alone = this.costs.ms(next);
    if (next === 0 || prompts === 0 || alone === undefined) return;
    // More tokens take no less; a thousandth keeps what divides by it finite.
    const tokenMs = Math.max((ms - alone) / prompts, alone / next / 1000);
    this.#tokenMs ??= tokenMs;
    this.#tokenMs += newest * (tokenMs - this.#tokenMs);
  }
}
