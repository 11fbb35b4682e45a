import type { Engine } from "../../engine/engine.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

/** A model, as far as evaluating needs it. */
export interface EvaluatedModel {
  /** Runs the prompts */
  readonly engine: Engine;
  /** Makes ids of them */
  readonly tokenizer: Tokenizer;
}
