/** The masks of one text, each computed while the places compute the logits that it is for. */
import type { Constraint } from "../constrain/constraint.ts";
import { TimeSlice } from "../platform/time_slice.ts";
import type { TokenMask } from "../sampling/token_mask.ts";

/** Computes a constraint's masks ahead. */
export class MasksAhead {
  #mask?: Promise<TokenMask>;

  /** Of a text that stands where `constraint` does. */
  constructor(readonly constraint: Constraint) {}

  /** Begins the mask of what comes next, in a later turn of the event loop: a step that was asked for begins before that. */
  begin(): Promise<TokenMask> {
    this.#mask = new TimeSlice().yield().then(() => this.constraint.mask());
    this.#mask.catch(() => {}); // who takes it is told
    return this.#mask;
  }

  /**
   * The mask that was begun.
   *
   * @throws as {@linkcode Constraint.mask} does
   */
  take(): Promise<TokenMask> | undefined {
    return this.#mask;
  }
}
