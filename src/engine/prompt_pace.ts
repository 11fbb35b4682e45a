/**
 * How many tokens of prompts go into a step beside texts that are being written:
 * so many that these go on at half their pace, however long a prompt is, or a
 * few, where those slow them down more.
 */
import type { StepCosts } from "./step_costs.ts";

/** How many times as long a step may take as without prompts. */
const mostSlowdown = 2;
/** The fewest tokens of prompts in a step: they share what is read with the others, and are no draft. */
const fewest = 9;
/** The most tokens that wait of a text that is being written: the next, and the usual draft. */
const longestNext = 8;
/** How much the last step weighs in the mean of what a token of a prompt takes. */
const newest = 0.2;

/** Learns from each step what a token of a prompt adds to it. */
export class PromptPace {
  /** ms of a prompt's token beside texts that are being written; undefined until one was measured */
  #tokenMs?: number;

  /** `costs` says what steps without prompts take. */
  constructor(readonly costs: StepCosts) {}

  /** Tokens that a step takes, `most` at most, of lines where so many wait. */
  slots(waiting: readonly number[], most: number): number {
    const next = nextOf(waiting);
    const ms = this.costs.ms(next);
    if (next === 0 || ms === undefined) return most;
    const tokenMs = this.#tokenMs ?? ms / next;
    const prompt = Math.floor((mostSlowdown - 1) * ms / tokenMs);
    return Math.min(most, next + Math.max(fewest, prompt));
  }

  /** Takes the time of a step, of so many tokens of each sequence. */
  learn(taken: readonly number[], ms: number): void {
    const next = nextOf(taken);
    const prompt = sum(taken) - next;
    const alone = this.costs.ms(next);
    if (next === 0 || prompt === 0 || alone === undefined) return;
    // More tokens take no less; a thousandth keeps what divides by it finite.
    const tokenMs = Math.max((ms - alone) / prompt, alone / next / 1000);
    this.#tokenMs ??= tokenMs;
    this.#tokenMs += newest * (tokenMs - this.#tokenMs);
  }
}

/** Of so many tokens of each sequence, those of texts that are being written, and of prompts' ends. */
function nextOf(counts: readonly number[]): number {
  return sum(counts.filter((count) => count <= longestNext));
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
