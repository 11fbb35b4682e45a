import { TokenizerError } from "../errors.ts";
import { byteOf, fromByteAlphabet, toByteAlphabet } from "./byte_alphabet.ts";
import { longestOf, mergeSymbols } from "./merge.ts";
import { type Pretokenizer, splitWords } from "./pretokenizer.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";
import type { PieceModel } from "./vocabulary_tokenizer.ts";
import { WordCache } from "./word_cache.ts";

/** GPT-2's byte-level BPE: words become bytes, and the merge listed first goes first. */
export class ByteLevelBpe implements PieceModel {
  /** Ranks by merge as the file writes it: left, a space, right. */
  readonly #ranks: ReadonlyMap<string, number>;
  readonly #longestPiece: number;
  readonly #cache = new WordCache();

  /**
   * Takes the merges, the most important first, each as `left right`.
   *
   * @throws {TokenizerError} A merge is not two tokens with a space between, or names a token that is missing.
   */
  constructor(
    readonly vocabulary: Vocabulary,
    merges: readonly string[],
    readonly unk: number | undefined,
    readonly pretokenizer: Pretokenizer,
  ) {
    this.#ranks = rankMerges(vocabulary, merges);
    this.#longestPiece = longestOf(vocabulary.tokens);
  }

  /** Appends the ids of a text. */
  encode(text: string, _atStart: boolean, ids: number[]): void {
    for (const word of splitWords(text, this.pretokenizer.patterns)) {
      const wordIds = this.#cache.get(word, (word) => this.#encodeWord(word));
      for (const id of wordIds) ids.push(id);
    }
  }

  /** The bytes of an id; a special or user-defined token is written plainly. */
  pieceBytes(id: number): Uint8Array {
    const text = this.vocabulary.tokens[id];
    const isWrittenPlainly = this.vocabulary.isSpecial(id) ||
      this.vocabulary.types[id] === TokenType.userDefined;
    return (isWrittenPlainly ? undefined : fromByteAlphabet(text)) ??
      utf8.encode(text);
  }

  #encodeWord(word: string): number[] {
    const bytes = toByteAlphabet(word);
    const whole = this.pretokenizer.ignoreMerges
      ? this.vocabulary.plainIdOf(bytes)
      : undefined;
    if (whole !== undefined) return [whole];
    const bounds = mergeSymbols(
      Array.from({ length: bytes.length + 1 }, (_, i) => i),
      (start, middle, end) =>
        end - start > this.#longestPiece ? undefined : this.#ranks.get(
          `${bytes.slice(start, middle)} ${bytes.slice(middle, end)}`,
        ),
    );
    const ids: number[] = [];
    for (let i = 1; i < bounds.length; i++) {
      const piece = bytes.slice(bounds[i - 1], bounds[i]);
      const id = this.vocabulary.plainIdOf(piece);
      if (id !== undefined) ids.push(id);
      else for (const character of piece) ids.push(this.#byteId(character));
    }
    return ids;
  }

  #byteId(character: string): number {
    const id = this.vocabulary.plainIdOf(character) ?? this.unk;
    if (id === undefined) {
      throw new TokenizerError(
        `Cannot encode byte ${
          byteOf(character)
        }: the vocabulary has neither a token for it nor an unknown token`,
      );
    }
    return id;
  }
}

const utf8 = new TextEncoder();

function rankMerges(
  vocabulary: Vocabulary,
  merges: readonly string[],
): Map<string, number> {
  const ranks = new Map<string, number>();
  merges.forEach((merge, rank) => {
    const parts = merge.split(" ");
    if (parts.length !== 2 || parts[0] === "" || parts[1] === "") {
      throw new TokenizerError(
        `Cannot read merge ${rank}: ${
          JSON.stringify(merge)
        } is not two tokens with a space between`,
      );
    }
    for (const token of [...parts, parts[0] + parts[1]]) {
      if (vocabulary.idOf(token) === undefined) {
        throw new TokenizerError(
          `Cannot read merge ${rank}, ${
            JSON.stringify(merge)
          }: the vocabulary's ${vocabulary.size} tokens do not include ${
            JSON.stringify(token)
          }`,
        );
      }
    }
    if (!ranks.has(merge)) ranks.set(merge, rank);
  });
  return ranks;
}
