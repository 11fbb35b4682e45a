/** How two trees compare: what is measured in turns, turn by turn and round by round. */
import { median } from "../../cli/commands/bench/roofline.ts";

/** What each tree took in the turns of a round, in ms. */
export interface Round {
  readonly base: readonly number[];
  readonly here: readonly number[];
}

/**
 * How many times faster `here` was in a round, by the fastest turn of each: other
 * work on the machine only ever makes a turn slower.
 */
export function ratioOf({ base, here }: Round): number {
  return Math.min(...base) / Math.min(...here);
}

/** What the rounds of a row say. */
export interface Verdict {
  /** The median of the rounds' ratios, least and most */
  readonly ratio: number;
  readonly least: number;
  readonly most: number;
  /** The median of the rounds' fastest turns, in ms */
  readonly baseMs: number;
  readonly hereMs: number;
  /** Whether the median is under what is allowed */
  readonly isSlower: boolean;
}

/** Judges a row; `allowed` is the least ratio that passes. */
export function verdictOf(
  rounds: readonly Round[],
  allowed: number,
): Verdict {
  const ratios = rounds.map(ratioOf);
  const ratio = median(ratios);
  const fastest = (side: keyof Round) =>
    median(rounds.map((round) => Math.min(...round[side])));
  return {
    ratio,
    least: Math.min(...ratios),
    most: Math.max(...ratios),
    baseMs: fastest("base"),
    hereMs: fastest("here"),
    isSlower: ratio < allowed,
  };
}
