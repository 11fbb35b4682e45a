import { TokenizerError } from "../errors.ts";
import { Detokenizer } from "./detokenizer.ts";
import type { PieceModel } from "./piece_model.ts";
import { TokenFinder } from "./special_tokens.ts";
import type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";

/** What a tokenizer is made of. */
export interface TokenizerParts {
  /** The tokens. */
  readonly vocabulary: Vocabulary;
  /** How the text between special tokens becomes ids. */
  readonly model: PieceModel;
  /** Id that begins a text. */
  readonly bos?: number;
  /** Id that ends a text. */
  readonly eos?: number;
  /** Id for what the vocabulary cannot spell. */
  readonly unk?: number;
  /** Whether BOS comes first. */
  readonly addBos: boolean;
  /** Whether EOS comes last. */
  readonly addEos: boolean;
  /** Whether the model puts a space before a text. */
  readonly addSpacePrefix: boolean;
  /** Types of tokens that are found in every text before the model sees it. */
  readonly alwaysParsed: readonly TokenType[];
  /** Ids that end an answer. */
  readonly endOfGeneration: ReadonlySet<number>;
}

/** Types of tokens that are found in a text only where the caller asks for it. */
const specialTypes = [TokenType.unknown, TokenType.control];

/** A tokenizer over a vocabulary: takes care of special tokens, and leaves the rest to a model. */
export class VocabularyTokenizer implements Tokenizer {
  /** Number of ids. */
  readonly vocabSize: number;
  /** Id that begins a text. */
  readonly bos?: number;
  /** Id that ends a text. */
  readonly eos?: number;
  /** Id for what the vocabulary cannot spell. */
  readonly unk?: number;
  /** Whether `encode` puts BOS first. */
  readonly addBos: boolean;
  /** Whether `encode` puts EOS last. */
  readonly addEos: boolean;
  /** Whether `encode` puts a space before a text. */
  readonly addSpacePrefix: boolean;
  readonly #vocabulary: Vocabulary;
  readonly #model: PieceModel;
  readonly #endOfGeneration: ReadonlySet<number>;
  readonly #plainFinder: TokenFinder;
  readonly #specialFinder: TokenFinder;

  /**
   * Puts the parts together.
   *
   * @throws {TokenizerError} An id is not in the vocabulary, or BOS or EOS is to be added and there is none.
   */
  constructor(parts: TokenizerParts) {
    const { vocabulary } = parts;
    checkId("BOS", parts.bos, parts.addBos, vocabulary);
    checkId("EOS", parts.eos, parts.addEos, vocabulary);
    checkId("unknown", parts.unk, false, vocabulary);
    this.vocabSize = vocabulary.size;
    this.bos = parts.bos;
    this.eos = parts.eos;
    this.unk = parts.unk;
    this.addBos = parts.addBos;
    this.addEos = parts.addEos;
    this.addSpacePrefix = parts.addSpacePrefix;
    this.#vocabulary = vocabulary;
    this.#model = parts.model;
    this.#endOfGeneration = parts.endOfGeneration;
    this.#plainFinder = makeFinder(vocabulary, parts.alwaysParsed);
    this.#specialFinder = makeFinder(vocabulary, [
      ...parts.alwaysParsed,
      ...specialTypes,
    ]);
  }

  /** The ids of a text. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    const { addSpecial = true, parseSpecial = false } = options;
    const finder = parseSpecial ? this.#specialFinder : this.#plainFinder;
    const ids: number[] = [];
    if (addSpecial && this.addBos) ids.push(this.bos!);
    let atStart = true;
    for (const fragment of finder.split(text.toWellFormed())) {
      if (typeof fragment === "number") ids.push(fragment);
      else this.#model.encode(fragment, atStart, ids);
      atStart = typeof fragment === "number";
    }
    if (addSpecial && this.addEos) ids.push(this.eos!);
    return ids;
  }

  /** The whole text that ids stand for. */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const detokenizer = new Detokenizer(this, {
      ...options,
      stripLeadingSpace: true,
    });
    let text = "";
    for (const id of ids) text += detokenizer.push(id);
    return text + detokenizer.flush();
  }

  /** The bytes that an id adds to a text. */
  pieceBytes(id: number): Uint8Array {
    this.#vocabulary.check(id);
    return this.#model.pieceBytes(id);
  }

  /** An id as the vocabulary writes it. */
  pieceText(id: number): string {
    this.#vocabulary.check(id);
    return this.#vocabulary.tokens[id];
  }

  /** Whether an id is a control or unknown token. */
  isSpecial(id: number): boolean {
    return this.#vocabulary.isSpecial(id);
  }

  /** Whether an id ends an answer. */
  isEndOfGeneration(id: number): boolean {
    return this.#endOfGeneration.has(id);
  }
}

function makeFinder(
  vocabulary: Vocabulary,
  types: readonly TokenType[],
): TokenFinder {
  return new TokenFinder(
    vocabulary.idsOf(...types).map((id) => [vocabulary.tokens[id], id]),
  );
}

function checkId(
  name: string,
  id: number | undefined,
  isAdded: boolean,
  vocabulary: Vocabulary,
): void {
  if (id === undefined) {
    if (!isAdded) return;
    throw new TokenizerError(
      `Cannot read the vocabulary: ${name} is to be added to each text, but has no id`,
    );
  }
  if (!Number.isInteger(id) || id < 0 || id >= vocabulary.size) {
    throw new TokenizerError(
      `Cannot read the vocabulary: the ${name} token has id ${id}, the ids run from 0 to ${
        vocabulary.size - 1
      }`,
    );
  }
}
