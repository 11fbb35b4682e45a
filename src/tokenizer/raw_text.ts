/** How vocabularies write texts whose tokens are no bytes. */

import { TokenizerError } from "../errors.ts";

/** How SentencePiece writes a space (U+2581). */
export const SPACE = "\u2581";

/** The token of a byte: `<0x0A>`. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** The byte that a token such as `<0x0A>` stands for. */
export function parseByteToken(text: string): number | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(text);
  return match ? parseInt(match[1], 16) : undefined;
}

/** A text has a byte that nothing stands for. */
export function noByte(byte: number | undefined): TokenizerError {
  return new TokenizerError(
    `Cannot encode byte ${byte}: the vocabulary has neither a token for it nor an unknown token`,
  );
}
