/** How long a text may be that is to fit a context. */
import { ContextError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** Bytes of each vocabulary's longest token. */
const longest = new WeakMap<Tokenizer, number>();

/** The most characters that so many tokens stand for: each token for as many bytes as the longest at most, each character for one at least. */
export function mostCharacters(tokenizer: Tokenizer, tokens: number): number {
  let most = longest.get(tokenizer);
  if (most === undefined) {
    most = 0;
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      most = Math.max(most, tokenizer.pieceBytes(id).length);
    }
    longest.set(tokenizer, most);
  }
  return most * tokens;
}

/**
 * Refuses a text that does not fit the context whatever its tokens are, before
 * anybody looks for these: a MB that is made to be hard takes seconds.
 *
 * @throws {ContextError} where it is too long
 */
export function checkTextLength(
  { length }: { readonly length: number },
  tokenizer: Tokenizer,
  contextSize: number,
): void {
  const most = mostCharacters(tokenizer, contextSize);
  if (length <= most) return;
  throw new ContextError(
    `Cannot tokenize ${length} characters: the context has ${contextSize} tokens, which stand for ${most} at most`,
    { tokens: Math.ceil(length * contextSize / most), contextSize },
  );
}
