import type { Constraint } from "../../src/constrain/constraint.ts";
import { allows } from "../../src/sampling/token_mask.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

/** Whether a whole text may be written under a constraint: each of its tokens, and then its end. Every mask is asked too. */
export function accepts(
  constraint: Constraint,
  tokenizer: Tokenizer,
  text: string,
  parseSpecial = false,
): boolean {
  using fork = constraint.fork();
  for (
    const id of tokenizer.encode(text, { addSpecial: false, parseSpecial })
  ) {
    if (!allows(fork.mask(), id)) return false;
    fork.take(id);
  }
  return fork.mayEnd;
}
