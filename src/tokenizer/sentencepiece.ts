import { TokenizerError } from "../errors.ts";
import { longestOf, mergeSymbols } from "./merge.ts";
import { finderOf, type TokenFinder } from "./special_tokens.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";
import type { PieceModel } from "./vocabulary_tokenizer.ts";
import { WordCache } from "./word_cache.ts";

/** How SentencePiece writes a space (U+2581). */
const SPACE = "\u2581";

/** What a SentencePiece model does to a text before it looks for pieces. */
export interface SentencePieceSettings {
  /** Puts a space before the text, so that the first word is like all others. */
  readonly addSpacePrefix: boolean;
  /** Makes one space of several, and none of those at the text's ends. */
  readonly removeExtraWhitespaces: boolean;
  /** Writes spaces as U+2581. */
  readonly escapeWhitespaces: boolean;
}

/** SentencePiece's BPE: the pair whose piece has the best score merges first. */
export class SentencePieceBpe implements PieceModel {
  readonly #byteIds: readonly number[] | undefined;
  readonly #userDefined: TokenFinder;
  readonly #longestPiece: number;
  readonly #splitsAtSpaces: boolean;
  readonly #cache = new WordCache();

  /**
   * Takes the score of each id, and the id of what has no piece.
   *
   * @throws {TokenizerError} A score is not a number, byte tokens are damaged or missing, or unknown text has no id to become.
   */
  constructor(
    readonly vocabulary: Vocabulary,
    readonly scores: ArrayLike<number>,
    readonly unk: number | undefined,
    readonly settings: SentencePieceSettings,
  ) {
    const nan = Array.prototype.findIndex.call(scores, Number.isNaN);
    if (nan >= 0) {
      throw new TokenizerError(
        `Cannot read the vocabulary: the score of token ${nan} is not a number`,
      );
    }
    this.#byteIds = readByteIds(vocabulary);
    if (!this.#byteIds && unk === undefined) {
      throw new TokenizerError(
        "Cannot read the vocabulary: it has neither byte tokens nor an unknown token",
      );
    }
    this.#userDefined = finderOf(vocabulary, TokenType.userDefined);
    const pieces = vocabulary.tokens.filter((_, id) => vocabulary.isPlain(id));
    this.#longestPiece = longestOf(pieces);
    // Where no piece reaches over the beginning of a word, words can be merged
    // one by one: the result is the same, and common words are remembered.
    this.#splitsAtSpaces = settings.escapeWhitespaces &&
      !pieces.some((piece) => /[^\u2581]\u2581/.test(piece));
  }

  /** Appends the ids of a text. */
  encode(text: string, atStart: boolean, ids: number[]): void {
    const begin = ids.length;
    for (
      const fragment of this.#userDefined.split(this.#normalise(text, atStart))
    ) {
      if (typeof fragment === "number") {
        ids.push(fragment);
        continue;
      }
      for (const word of this.#words(fragment)) {
        const wordIds = this.#cache.get(word, (word) => this.#encodeWord(word));
        for (const id of wordIds) {
          // SentencePiece gives neighbouring unknown characters one id.
          const repeatsUnknown = id === this.unk && ids.length > begin &&
            ids[ids.length - 1] === id;
          if (!repeatsUnknown) ids.push(id);
        }
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

  #normalise(text: string, atStart: boolean): string {
    const { addSpacePrefix, removeExtraWhitespaces, escapeWhitespaces } =
      this.settings;
    if (removeExtraWhitespaces) text = removeExtraBlanks(text);
    if (text === "") return "";
    if (addSpacePrefix && atStart) text = " " + text;
    return escapeWhitespaces ? text.replaceAll(" ", SPACE) : text;
  }

  #words(text: string): Iterable<string> {
    if (!this.#splitsAtSpaces) return [text];
    return text.match(/\u2581*[^\u2581]+|\u2581+/g)!;
  }

  #isUnused(id: number): boolean {
    return this.vocabulary.types[id] === TokenType.unused;
  }

  #encodeWord(word: string): number[] {
    // Unused pieces take part in merges, but come apart again in the end, at
    // the offset where they were joined.
    const joints = new Map<string, number>();
    const bounds = mergeSymbols(characterBounds(word), (start, middle, end) => {
      if (end - start > this.#longestPiece) return undefined;
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
      } else if (this.#byteIds) {
        for (const byte of utf8.encode(text)) ids.push(this.#byteIds[byte]);
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

/** Where each character (code point) of a text begins, then where it ends. */
function characterBounds(text: string): number[] {
  const bounds = [0];
  let end = 0;
  for (const character of text) bounds.push(end += character.length);
  return bounds;
}

/** The byte that a token such as `<0x0A>` stands for. */
export function parseByteToken(text: string): number | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(text);
  return match ? parseInt(match[1], 16) : undefined;
}

/** The id of each byte, or undefined where the vocabulary has no byte tokens. */
function readByteIds(vocabulary: Vocabulary): number[] | undefined {
  const byteIds = new Map<number, number>();
  const ids = vocabulary.idsOf(TokenType.byte);
  if (ids.length === 0) return undefined;
  for (const id of ids) {
    const text = vocabulary.tokens[id];
    const byte = parseByteToken(text);
    if (byte === undefined) {
      throw new TokenizerError(
        `Cannot read token ${id}: ${
          JSON.stringify(text)
        } is not a byte token such as <0x0A>`,
      );
    }
    byteIds.set(byte, id);
  }
  if (byteIds.size !== 256 || ids.length !== 256) {
    throw new TokenizerError(
      `Cannot read the vocabulary: ${ids.length} tokens stand for ${byteIds.size} of the 256 bytes`,
    );
  }
  return Array.from({ length: 256 }, (_, byte) => byteIds.get(byte)!);
}
