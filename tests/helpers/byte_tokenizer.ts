import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { UsageError } from "../../src/errors.ts";

const utf8 = new TextEncoder();

/**
 * A tokenizer of 256 bytes, of some longer texts, of special tokens, and of one
 * that ends a text; the longest text that fits is taken.
 */
export function byteTokenizer(
  texts: readonly string[] = [],
  special: readonly string[] = [],
): Tokenizer {
  const pieces = [
    ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
    ...[...texts, ...special, "</s>"].map((text) => utf8.encode(text)),
  ];
  const firstSpecial = 256 + texts.length;
  const eos = pieces.length - 1;
  const check = (id: number) => {
    if (!pieces[id]) throw new UsageError(`Cannot find token ${id}`);
  };
  const startsAt = (bytes: Uint8Array, at: number, piece: Uint8Array) =>
    piece.every((byte, i) => bytes[at + i] === byte);
  return {
    vocabSize: pieces.length,
    eos,
    addBos: false,
    addEos: false,
    addSpacePrefix: false,
    encode(text, { parseSpecial = false } = {}) {
      const bytes = utf8.encode(text);
      const last = parseSpecial ? eos : firstSpecial;
      const ids: number[] = [];
      for (let at = 0; at < bytes.length;) {
        let best = bytes[at];
        for (let id = 256; id < last; id++) {
          const isLonger = pieces[id].length > pieces[best].length;
          if (isLonger && startsAt(bytes, at, pieces[id])) best = id;
        }
        ids.push(best);
        at += pieces[best].length;
      }
      return ids;
    },
    decode: (ids) =>
      new TextDecoder().decode(
        Uint8Array.from([...ids].flatMap((id) => [...pieces[id]])),
      ),
    pieceBytes: (id) => (check(id), pieces[id]),
    pieceText: (id) => (check(id), new TextDecoder().decode(pieces[id])),
    isSpecial: (id) => id >= firstSpecial,
    isEndOfGeneration: (id) => id === eos,
  };
}
