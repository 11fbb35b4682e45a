import { TokenizerError, UsageError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";

/** What a token is for; the numbers are those of GGUF and SentencePiece. */
export const TokenType = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** One of the values of `TokenType`. */
export type TokenType = (typeof TokenType)[keyof typeof TokenType];

/** A vocabulary that no model needs: it keeps a damaged file from filling the memory. */
const MAX_TOKENS = 1 << 24;

/** The tokens of a model: text and type of each id. */
export class Vocabulary {
  readonly #types: TokenType[];
  readonly #ids = new Map<string, number>();

  /**
   * Checks the tokens; one of a type that is not known is plain text.
   *
   * @throws {TokenizerError} There are no tokens or too many, the types are not as many as the tokens, or a text stands for two ids.
   */
  constructor(readonly tokens: readonly string[], types: ArrayLike<number>) {
    if (tokens.length === 0) {
      throw new TokenizerError("Cannot read the vocabulary: it has no tokens");
    }
    if (tokens.length > MAX_TOKENS) {
      throw new TokenizerError(
        `Cannot read the vocabulary: it has ${tokens.length} tokens, the limit is ${MAX_TOKENS}`,
      );
    }
    checkLength("types", types.length, tokens.length);
    this.#types = Array.from(
      types,
      (type) => isTokenType(type) ? type : TokenType.normal,
    );
    tokens.forEach((text, id) => {
      // Padding ids without a text exist; no text can become such an id.
      if (text === "") return;
      const other = this.#ids.get(text);
      if (other !== undefined) {
        throw new TokenizerError(
          `Cannot read the vocabulary: ids ${other} and ${id} are both ${
            printable(JSON.stringify(text))
          }`,
        );
      }
      this.#ids.set(text, id);
    });
  }

  /** Gives some tokens other types. */
  retype(changes: ReadonlyMap<number, TokenType>): void {
    for (const [id, type] of changes) this.#types[id] = type;
  }

  /** Type of each id. */
  get types(): readonly TokenType[] {
    return this.#types;
  }

  /** Number of ids. */
  get size(): number {
    return this.tokens.length;
  }

  /** The id with exactly this text, whatever its type. */
  idOf(text: string): number | undefined {
    return this.#ids.get(text);
  }

  /** The ids of some types. */
  idsOf(...types: TokenType[]): number[] {
    return [...this.types.keys()].filter((id) =>
      types.includes(this.types[id]) && this.tokens[id] !== ""
    );
  }

  /** Whether an id is no part of a text: a control or unknown token. */
  isSpecial(id: number): boolean {
    const type = this.types[id];
    return type === TokenType.control || type === TokenType.unknown;
  }

  /** The id with exactly this text that may come out of plain text. */
  plainIdOf(text: string): number | undefined {
    const id = this.#ids.get(text);
    return id !== undefined && this.isPlain(id) ? id : undefined;
  }

  /**
   * Whether an id may come out of plain text.
   * Without this, a text that says `</s>` could end the prompt.
   */
  isPlain(id: number): boolean {
    return !this.isSpecial(id) && this.types[id] !== TokenType.byte;
  }

  /**
   * Refuses an id that is not in the vocabulary.
   *
   * @throws {UsageError} The id is not an integer from 0 to `size - 1`.
   */
  check(id: number): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.size) {
      throw new UsageError(
        `Cannot read token id ${id}: the vocabulary has ids 0 to ${
          this.size - 1
        }`,
      );
    }
  }
}

/** Whether a number says what a token is for. */
export function isTokenType(type: number): type is TokenType {
  return type >= TokenType.normal && type <= TokenType.byte;
}

/**
 * Refuses an array that does not have one value for each token.
 *
 * @throws {TokenizerError} The lengths differ.
 */
export function checkLength(
  what: string,
  length: number,
  tokenCount: number,
): void {
  if (length !== tokenCount) {
    throw new TokenizerError(
      `Cannot read the vocabulary: it has ${tokenCount} tokens, but ${length} ${what}`,
    );
  }
}
