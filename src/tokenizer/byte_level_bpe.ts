import { byteOf, fromByteAlphabet, toByteAlphabet } from "./byte_alphabet.ts";
import { characterBounds, longestOf, mergeSymbols } from "./merge.ts";
import { type Pretokenizer, splitWords } from "./pretokenizer.ts";
import { byteToken, noByte, parseByteToken, SPACE } from "./raw_text.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";
import type { PieceModel } from "./vocabulary_tokenizer.ts";
import { WordCache } from "./word_cache.ts";

/**
 * GPT-2's byte-level BPE: words become bytes, each written as a character, and
 * the merge listed first goes first. Of a raw vocabulary, words stay what they
 * are, and what has no token comes out as byte tokens.
 */
export class ByteLevelBpe implements PieceModel {
  readonly #longestPiece: number;
  readonly #cache = new WordCache();

  /** Takes ranks by merge as the file writes it: left, a space, right. */
  constructor(
    readonly vocabulary: Vocabulary,
    readonly ranks: ReadonlyMap<string, number>,
    readonly unk: number | undefined,
    readonly pretokenizer: Pretokenizer,
  ) {
    this.#longestPiece = longestOf(vocabulary.tokens);
  }

  /** Appends the ids of a text. */
  encode(text: string, _isFirst: boolean, ids: number[]): void {
    if (this.pretokenizer.escapesSpaces) text = text.replaceAll(" ", SPACE);
    for (const word of splitWords(text, this.pretokenizer.patterns)) {
      const wordIds = this.#cache.get(word, (word) => this.#encodeWord(word));
      for (const id of wordIds) ids.push(id);
    }
  }

  /** The bytes of an id; a special or user-defined token is written plainly. */
  pieceBytes(id: number): Uint8Array {
    const text = this.vocabulary.tokens[id];
    const type = this.vocabulary.types[id];
    const isWrittenPlainly = this.vocabulary.isSpecial(id) ||
      type === TokenType.userDefined;
    if (this.pretokenizer.isRaw && !isWrittenPlainly) {
      const byte = type === TokenType.byte ? parseByteToken(text) : undefined;
      if (byte !== undefined) return Uint8Array.of(byte);
      const { escapesSpaces } = this.pretokenizer;
      return utf8.encode(escapesSpaces ? text.replaceAll(SPACE, " ") : text);
    }
    return (isWrittenPlainly ? undefined : fromByteAlphabet(text)) ??
      utf8.encode(text);
  }

  #encodeWord(word: string): number[] {
    const { isRaw, ignoreMerges } = this.pretokenizer;
    const text = isRaw ? word : toByteAlphabet(word);
    // Raw vocabularies have tokens of several line ends, which no merges make.
    const isWhole = ignoreMerges || isRaw && /^\n+$/.test(text);
    const whole = isWhole ? this.vocabulary.plainIdOf(text) : undefined;
    if (whole !== undefined) return [whole];
    const bounds = mergeSymbols(
      characterBounds(text),
      (start, middle, end) =>
        end - start > this.#longestPiece ? undefined : this.ranks.get(
          `${text.slice(start, middle)} ${text.slice(middle, end)}`,
        ),
    );
    const ids: number[] = [];
    for (let i = 1; i < bounds.length; i++) {
      const piece = text.slice(bounds[i - 1], bounds[i]);
      const id = this.vocabulary.plainIdOf(piece);
      if (id !== undefined) ids.push(id);
      else if (isRaw) this.#appendBytes(piece, ids);
      else for (const character of piece) ids.push(this.#byteId(character));
    }
    return ids;
  }

  #appendBytes(piece: string, ids: number[]): void {
    for (const byte of utf8.encode(piece)) {
      const id = this.vocabulary.idOf(byteToken(byte)) ?? this.unk;
      if (id === undefined) throw noByte(byte);
      ids.push(id);
    }
  }

  #byteId(character: string): number {
    const id = this.vocabulary.plainIdOf(character) ?? this.unk;
    if (id === undefined) throw noByte(byteOf(character));
    return id;
  }
}

const utf8 = new TextEncoder();
