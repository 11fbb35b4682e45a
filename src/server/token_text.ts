/** Tokens as texts for JSON, which has characters only. */
import { inSlices } from "../platform/time_slice.ts";
import { Detokenizer } from "../tokenizer/detokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** The text of a token; where its bytes are a part of a character, U+FFFD stands for them. */
export function tokenText(tokenizer: Tokenizer, id: number): string {
  return lenient.decode(tokenizer.pieceBytes(id));
}

/** The text of a token, or `bytes:\xe2\x80` where its bytes are a part of a character: different for different bytes. */
export function tokenName(tokenizer: Tokenizer, id: number): string {
  const bytes = tokenizer.pieceBytes(id);
  try {
    return strict.decode(bytes);
  } catch {
    const spelled = Array.from(
      bytes,
      (byte) => `\\x${byte.toString(16).padStart(2, "0")}`,
    );
    return `bytes:${spelled.join("")}`;
  }
}

/** The text of ids, special ones too. Behind BOS a space is not the text's first, as in llama.cpp. */
export function wholeText(
  tokenizer: Tokenizer,
  ids: readonly number[],
): string {
  const detokenizer = wholeDetokenizer(tokenizer, ids);
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}

/** The same of any number of ids, while others have their turns. */
export async function wholeTextInSlices(
  tokenizer: Tokenizer,
  ids: readonly number[],
): Promise<string> {
  const detokenizer = wholeDetokenizer(tokenizer, ids);
  const texts = await inSlices(ids, (id) => detokenizer.push(id));
  return texts.join("") + detokenizer.flush();
}

function wholeDetokenizer(
  tokenizer: Tokenizer,
  [first]: readonly number[],
): Detokenizer {
  return new Detokenizer(tokenizer, {
    skipSpecial: false,
    stripLeadingSpace: first !== tokenizer.bos,
  });
}
