/** What drafts the tokens of one text. */
import type { StepCosts } from "../engine/step_costs.ts";

/** What says which drafts pay: what steps take, and who has shared the last one. */
export type DraftCosts = Pick<StepCosts, "ms" | "sequences" | "prompts">;

/** How a draft is asked for. */
export interface DraftAsk {
  /** What steps of the model take that checks it */
  readonly costs: DraftCosts;
  /** The fewest tokens that are worth a draft, and the most */
  readonly least: number;
  readonly most: number;
  readonly signal?: AbortSignal;
}

/** Guesses how a text goes on. */
export interface Drafter extends Disposable {
  /** Lengthens the text by a token. */
  push(id: number): void;
  /**
   * The tokens that likely follow: as many as pay, mostly none.
   *
   * @throws what `signal` was aborted with
   */
  draft(ask: DraftAsk): Promise<readonly number[]>;
}
