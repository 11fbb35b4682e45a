import { TokenizerError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { characterBounds, longestOf, mergeSymbols } from "./merge.ts";
import { noByte, parseByteToken, SPACE } from "./raw_text.ts";
import type { Metaspace, Normaliser } from "./text_rules.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";
import type { PieceModel } from "./vocabulary_tokenizer.ts";
import { WordCache } from "./word_cache.ts";

/** What a SentencePiece model does to a text before it looks for pieces. */
export interface SentencePieceSettings {
  /** Puts a space before the text, so that the first word is like all others. */
  readonly addSpacePrefix: boolean;
  /** Makes one space of several, and none of those at the text's ends. */
  readonly removeExtraWhitespaces: boolean;
  /** Writes spaces as U+2581. */
  readonly escapeWhitespaces: boolean;
}

/** What a SentencePiece model does to a text, as one step. */
export function sentencePieceNormaliser(
  { addSpacePrefix, removeExtraWhitespaces, escapeWhitespaces }:
    SentencePieceSettings,
): Normaliser {
  return (text) => {
    if (removeExtraWhitespaces) text = removeExtraBlanks(text);
    if (text === "") return "";
    if (addSpacePrefix) text = " " + text;
    return escapeWhitespaces ? text.replaceAll(" ", SPACE) : text;
  };
}

/** How pieces are merged, beside their scores. */
export interface MergeSettings {
  /** Ranks of merges, as `left right`: only these merge, and scores do not count. */
  readonly ranks?: ReadonlyMap<string, number>;
  /** Spaces are written by this, when tokens were found. */
  readonly metaspace?: Metaspace;
}

/** SentencePiece's BPE: the pair whose piece has the best score merges first. */
export class SentencePieceBpe implements PieceModel {
  readonly #byteIds: ReadonlyMap<number, number>;
  readonly #longestPiece: number;
  readonly #splitsAtSpaces: boolean;
  readonly #cache = new WordCache();

  /**
   * Takes the score of each id, and the id of what has no piece.
   *
   * @throws {TokenizerError} A score is not a number, byte tokens are damaged, or unknown text has no id to become.
   */
  constructor(
    readonly vocabulary: Vocabulary,
    readonly scores: ArrayLike<number>,
    readonly unk: number | undefined,
    readonly settings: MergeSettings = {},
  ) {
    const nan = Array.prototype.findIndex.call(scores, Number.isNaN);
    if (nan >= 0) {
      throw new TokenizerError(
        `Cannot read the vocabulary: the score of token ${nan} is not a number`,
      );
    }
    this.#byteIds = readByteIds(vocabulary);
    if (this.#byteIds.size === 0 && unk === undefined) {
      throw new TokenizerError(
        "Cannot read the vocabulary: it has neither byte tokens nor an unknown token",
      );
    }
    const pieces = vocabulary.tokens.filter((_, id) => vocabulary.isPlain(id));
    this.#longestPiece = longestOf(pieces);
    // Where no piece reaches over the beginning of a word, words can be merged
    // one by one: the result is the same, and common words are remembered.
    this.#splitsAtSpaces = !pieces.some((piece) =>
      /[^\u2581]\u2581/.test(piece)
    );
  }

  /** Appends the ids of a text. */
  encode(text: string, isFirst: boolean, ids: number[]): void {
    const begin = ids.length;
    for (const word of this.#words(this.#writeSpaces(text, isFirst))) {
      const wordIds = this.#cache.get(word, (word) => this.#encodeWord(word));
      for (const id of wordIds) {
        // SentencePiece gives neighbouring unknown characters one id.
        const repeatsUnknown = id === this.unk && ids.length > begin &&
          ids[ids.length - 1] === id;
        if (!repeatsUnknown) ids.push(id);
      }
    }
  }

  /** The bytes of an id: U+2581 is a space, `<0x0A>` the byte 10. */
  pieceBytes(id: number): Uint8Array {
    const text = this.vocabulary.tokens[id];
    if (this.vocabulary.types[id] === TokenType.byte) {
      return Uint8Array.of(parseByteToken(text)!);
    }
    return utf8.encode(
      this.vocabulary.isSpecial(id) ? text : text.replaceAll(SPACE, " "),
    );
  }

  #writeSpaces(text: string, isFirst: boolean): string {
    const { metaspace } = this.settings;
    if (!metaspace) return text;
    text = text.replaceAll(" ", SPACE);
    const isPrefixed = metaspace.prepend === "always" ||
      metaspace.prepend === "first" && isFirst;
    return isPrefixed && !text.startsWith(SPACE) ? SPACE + text : text;
  }

  #words(text: string): Iterable<string> {
    if (this.settings.metaspace?.split) {
      return text.match(/\u2581[^\u2581]*|[^\u2581]+/g)!;
    }
    if (!this.#splitsAtSpaces) return [text];
    return text.match(/\u2581*[^\u2581]+|\u2581+/g)!;
  }

  #isUnused(id: number): boolean {
    return this.vocabulary.types[id] === TokenType.unused;
  }

  #encodeWord(word: string): number[] {
    const { ranks } = this.settings;
    // Unused pieces take part in merges, but come apart again in the end, at
    // the offset where they were joined.
    const joints = new Map<string, number>();
    const bounds = mergeSymbols(characterBounds(word), (start, middle, end) => {
      if (end - start > this.#longestPiece) return undefined;
      if (ranks) {
        const left = word.slice(start, middle);
        return ranks.get(`${left} ${word.slice(middle, end)}`);
      }
      const piece = word.slice(start, end);
      const id = this.vocabulary.plainIdOf(piece);
      if (id === undefined) return undefined;
      if (this.#isUnused(id)) joints.set(piece, middle - start);
      return -this.scores[id];
    });
    const ids: number[] = [];
    for (let i = 1; i < bounds.length; i++) {
      this.#appendPiece(word.slice(bounds[i - 1], bounds[i]), joints, ids);
    }
    return ids;
  }

  #byteId(byte: number): number {
    const id = this.#byteIds.get(byte) ?? this.unk;
    if (id === undefined) throw noByte(byte);
    return id;
  }

  #appendPiece(
    piece: string,
    joints: ReadonlyMap<string, number>,
    ids: number[],
  ): void {
    const todo = [piece];
    for (let text = todo.pop(); text !== undefined; text = todo.pop()) {
      const id = this.vocabulary.plainIdOf(text);
      const joint = joints.get(text);
      if (id !== undefined && joint !== undefined && this.#isUnused(id)) {
        todo.push(text.slice(joint), text.slice(0, joint));
      } else if (id !== undefined) {
        ids.push(id);
      } else if (this.#byteIds.size > 0) {
        for (const byte of utf8.encode(text)) ids.push(this.#byteId(byte));
      } else {
        ids.push(this.unk!);
      }
    }
  }
}

const utf8 = new TextEncoder();

/**
 * One space for several, and none at the ends; at the end, SentencePiece takes
 * U+2581 for a space too.
 */
function removeExtraBlanks(text: string): string {
  text = text.replace(/ +/g, " ").replace(/^ /, "");
  let end = text.length;
  while (text[end - 1] === " " || text[end - 1] === SPACE) end--;
  return text.slice(0, end);
}

/** The id of each byte that has a token. */
function readByteIds(vocabulary: Vocabulary): Map<number, number> {
  const byteIds = new Map<number, number>();
  for (const id of vocabulary.idsOf(TokenType.byte)) {
    const text = vocabulary.tokens[id];
    const byte = parseByteToken(text);
    if (byte === undefined || byteIds.has(byte)) {
      throw new TokenizerError(
        `Cannot read token ${id}: ${printable(JSON.stringify(text))} is ${
          byte === undefined
            ? "not a byte token such as <0x0A>"
            : `byte ${byte}, which token ${byteIds.get(byte)} is`
        }`,
      );
    }
    byteIds.set(byte, id);
  }
  return byteIds;
}
