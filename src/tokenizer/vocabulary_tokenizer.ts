import { TokenizerError } from "../errors.ts";
import { Detokenizer } from "./detokenizer.ts";
import { finderOf } from "./special_tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";

/** How one kind of vocabulary turns plain text into ids, and an id into bytes. */
export interface PieceModel {
  /**
   * Appends the ids of a text without special tokens to `ids`.
   *
   * @param atStart Whether the text begins here or follows a special token.
   */
  encode(text: string, atStart: boolean, ids: number[]): void;
  /** The bytes that an id of the vocabulary adds to a text. */
  pieceBytes(id: number): Uint8Array;
}

type Flags = "bos" | "eos" | "unk" | "addBos" | "addEos" | "addSpacePrefix";

/** What a tokenizer is made of. */
export interface TokenizerParts extends Pick<Tokenizer, Flags> {
  /** The tokens. */
  readonly vocabulary: Vocabulary;
  /** How the text between special tokens becomes ids. */
  readonly model: PieceModel;
  /** Types of tokens that are found in every text before the model sees it. */
  readonly alwaysParsed: readonly TokenType[];
  /** Ids that end an answer. */
  readonly endOfGeneration: ReadonlySet<number>;
}

/**
 * A tokenizer over a vocabulary: takes care of special tokens, and leaves the
 * rest to a model.
 *
 * @throws {TokenizerError} An id is not in the vocabulary, or BOS or EOS is to be added and there is none.
 */
export function vocabularyTokenizer(
  { vocabulary, model, alwaysParsed, endOfGeneration, ...flags }:
    TokenizerParts,
): Tokenizer {
  const { bos, eos, unk, addBos, addEos } = flags;
  checkId("BOS", bos, addBos, vocabulary);
  checkId("EOS", eos, addEos, vocabulary);
  checkId("unknown", unk, false, vocabulary);
  const plainFinder = finderOf(vocabulary, ...alwaysParsed);
  // These are found in a text only where the caller requests it.
  const { unknown, control } = TokenType;
  const specialFinder = finderOf(vocabulary, ...alwaysParsed, unknown, control);
  const tokenizer: Tokenizer = {
    vocabSize: vocabulary.size,
    ...flags,
    encode(text, { addSpecial = true, parseSpecial = false } = {}) {
      const finder = parseSpecial ? specialFinder : plainFinder;
      const ids: number[] = [];
      if (addSpecial && addBos) ids.push(bos!);
      let atStart = true;
      for (const fragment of finder.split(text.toWellFormed())) {
        if (typeof fragment === "number") ids.push(fragment);
        else model.encode(fragment, atStart, ids);
        atStart = typeof fragment === "number";
      }
      if (addSpecial && addEos) ids.push(eos!);
      return ids;
    },
    decode(ids, options) {
      const detokenizer = new Detokenizer(tokenizer, {
        ...options,
        stripLeadingSpace: true,
      });
      let text = "";
      for (const id of ids) text += detokenizer.push(id);
      return text + detokenizer.flush();
    },
    pieceBytes(id) {
      vocabulary.check(id);
      return model.pieceBytes(id);
    },
    pieceText(id) {
      vocabulary.check(id);
      return vocabulary.tokens[id];
    },
    isSpecial: (id) => vocabulary.isSpecial(id),
    isEndOfGeneration: (id) => endOfGeneration.has(id),
  };
  return tokenizer;
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
