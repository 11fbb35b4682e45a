import { TokenizerError } from "../errors.ts";
import { Detokenizer } from "./detokenizer.ts";
import { TokenFinder } from "./special_tokens.ts";
import type { AddedTokenRules, Normaliser } from "./text_rules.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";

/** How one kind of vocabulary turns plain text into ids, and an id into bytes. */
export interface PieceModel {
  /**
   * Appends the ids of a text without special tokens to `ids`.
   *
   * @param isFirst Whether the whole text begins here; otherwise this follows a special token.
   */
  encode(text: string, isFirst: boolean, ids: number[]): void;
  /** The bytes that an id of the vocabulary adds to a text. */
  pieceBytes(id: number): Uint8Array;
}

type Flags =
  | "bos"
  | "eos"
  | "unk"
  | "fim"
  | "addBos"
  | "addEos"
  | "addSpacePrefix";

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
  /** Changes the text between special tokens. */
  readonly normalise?: Normaliser;
  /** Changes the text of a token that is looked for in normalised text; default as that. */
  readonly normaliseToken?: Normaliser;
  /** How tokens are found. */
  readonly added?: Partial<AddedTokenRules>;
  /** What is odd about the vocabulary, one sentence each. */
  readonly notes?: readonly string[];
}

/**
 * A tokenizer over a vocabulary: takes care of special tokens, and leaves the
 * rest to a model.
 *
 * @throws {TokenizerError} An id is not in the vocabulary, or BOS or EOS is to be added and there is none.
 */
export function vocabularyTokenizer(
  {
    vocabulary,
    model,
    alwaysParsed,
    endOfGeneration,
    normalise = (text) => text,
    normaliseToken = normalise,
    added = {},
    notes = [],
    ...flags
  }: TokenizerParts,
): Tokenizer {
  const { bos, eos, unk, addBos, addEos } = flags;
  checkId("BOS", bos, addBos, vocabulary);
  checkId("EOS", eos, addEos, vocabulary);
  checkId("unknown", unk, false, vocabulary);
  const findersOf = (...types: TokenType[]): Finders => {
    const [raw, normalized] = [new Map<string, number>(), new Map()];
    for (const id of vocabulary.idsOf(...types)) {
      const text = vocabulary.tokens[id];
      if (added.normalized?.has(id)) normalized.set(normaliseToken(text), id);
      else raw.set(text, id);
    }
    normalized.delete("");
    return {
      raw: new TokenFinder(raw, added),
      normalized: new TokenFinder(normalized, added),
    };
  };
  const { unknown, control } = TokenType;
  const plainFinders = findersOf(...alwaysParsed);
  // These are found in a text only where the caller requests it.
  const specialFinders = findersOf(...alwaysParsed, unknown, control);
  const tokenizer: Tokenizer = {
    vocabSize: vocabulary.size,
    ...flags,
    encode(text, options = {}) {
      const { addSpecial = true, parseSpecial = false } = options;
      const finders = parseSpecial ? specialFinders : plainFinders;
      const ids: number[] = [];
      if (addSpecial && addBos) ids.push(bos!);
      for (const outer of finders.raw.split(text.toWellFormed())) {
        if (typeof outer === "number") {
          ids.push(outer);
          continue;
        }
        for (const inner of finders.normalized.split(normalise(outer.text))) {
          if (typeof inner === "number") ids.push(inner);
          else model.encode(inner.text, outer.at + inner.at === 0, ids);
        }
      }
      if (addSpecial && addEos && (options.addEos ?? true)) ids.push(eos!);
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
    notes,
  };
  return tokenizer;
}

/** What finds tokens in a text as it is, and then in what normalisation made of the rest. */
type Finders = Record<"raw" | "normalized", TokenFinder>;

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
