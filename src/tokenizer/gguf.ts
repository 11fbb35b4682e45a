import { TokenizerError, UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import type { GgufFile } from "../formats/gguf/gguf_file.ts";
import {
  getArray,
  getBoolean,
  getNumber,
  getNumbers,
  getString,
  getStrings,
} from "../formats/gguf/metadata.ts";
import { ByteLevelBpe } from "./byte_level_bpe.ts";
import { correctedTypes, findEndOfGeneration } from "./end_of_generation.ts";
import { findFimTokens } from "./fim_tokens.ts";
import { rankMerges } from "./merge.ts";
import { pretokenizerNamed } from "./pretokenizer.ts";
import { parseByteToken, SPACE } from "./raw_text.ts";
import { SentencePieceBpe, sentencePieceNormaliser } from "./sentencepiece.ts";
import {
  type AddedTokenRules,
  normaliserOf,
  readTextRules,
  type TextRules,
} from "./text_rules.ts";
import type { Tokenizer } from "./tokenizer.ts";
import {
  checkLength,
  isTokenType,
  TokenType,
  Vocabulary,
} from "./vocabulary.ts";
import {
  type TokenizerParts,
  vocabularyTokenizer,
} from "./vocabulary_tokenizer.ts";

/** What is read of a file. */
type Header = Pick<GgufFile, "metadata">;

/** Vocabularies of other kinds, by `tokenizer.ggml.model`. */
const otherKinds: Readonly<Record<string, string>> = {
  t5: "Unigram",
  bert: "WordPiece",
  rwkv: "RWKV's",
  plamo2: "PLaMo-2's",
  hybriddna: "of DNA",
  whitespace: "of whole words",
  no_vocab: "none",
  none: "none",
};

/**
 * The tokenizer in a GGUF file's metadata: SentencePiece BPE
 * (`tokenizer.ggml.model` = `llama`) or byte-level BPE (`gpt2`; `gemma4`, whose
 * tokens are no bytes). What is odd about it, and does no harm, is in its notes.
 *
 * @throws {UnsupportedError} The vocabulary is of another kind, or needs a normaliser or pre-tokenizer that is not known.
 * @throws {TokenizerError} The vocabulary contradicts itself.
 * @throws {FormatError} A metadata value has the wrong type.
 */
export function tokenizerFromGguf(
  file: Pick<GgufFile, "metadata">,
): Tokenizer {
  const kind = getString(file, "tokenizer.ggml.model");
  if (kind !== "llama" && kind !== "gpt2" && kind !== "gemma4") {
    const other = kind !== undefined && Object.hasOwn(otherKinds, kind)
      ? ` (${otherKinds[kind]})`
      : "";
    throw new UnsupportedError(
      kind === undefined
        ? "Cannot find a tokenizer: the file has no tokenizer.ggml.model"
        : `Cannot run tokenizer.ggml.model ${
          printable(JSON.stringify(kind))
        }${other}: known are llama (SentencePiece BPE), gpt2 (byte-level BPE) and gemma4`,
    );
  }
  const isSentencePiece = kind === "llama";
  if (isSentencePiece) refuseNormaliser(file);
  const notes: string[] = [];
  const tokens = readStrings(file, "tokens");
  const ids = readIds(file, tokens.length, isSentencePiece, notes);
  const { bos, eos, unk } = ids;
  const types = readTypes(file, tokens, ids, isSentencePiece, notes);
  const vocabulary = new Vocabulary(tokens, types);
  correctTypes(vocabulary, notes);
  const rules = readTextRules(file);
  return vocabularyTokenizer({
    vocabulary,
    bos,
    eos,
    unk,
    addEos: getBoolean(file, "tokenizer.ggml.add_eos_token") ?? false,
    alwaysParsed: [TokenType.userDefined],
    endOfGeneration: findEndOfGeneration(vocabulary, endingIds(ids)),
    fim: findFimTokens(vocabulary, ids),
    added: addedRules(rules),
    normalise: rules.normalizers && normaliserOf(rules.normalizers),
    notes,
    ...(isSentencePiece
      ? sentencePiece(file, vocabulary, unk, rules, notes)
      : byteLevel(file, vocabulary, ids, kind, rules)),
  });
}

/**
 * The same; undefined for a file without a tokenizer, which computes all the same.
 *
 * @throws as {@linkcode tokenizerFromGguf} does
 */
export function tokenizerIfAny(
  file: Pick<GgufFile, "metadata">,
): Tokenizer | undefined {
  return file.metadata.has("tokenizer.ggml.model")
    ? tokenizerFromGguf(file)
    : undefined;
}

/** Gives tokens with well-known texts the types that these say. */
function correctTypes(vocabulary: Vocabulary, notes: string[]): void {
  const types = correctedTypes(vocabulary);
  for (const [id, type] of types) {
    // Of what is text either way, nothing is to be told.
    if (type !== TokenType.control) continue;
    notes.push(
      `token ${id}, ${
        printable(JSON.stringify(vocabulary.tokens[id]))
      }, is a control token by its text, and of type ${
        vocabulary.types[id]
      } in the file: taken for a control token`,
    );
  }
  vocabulary.retype(types);
}

function addedRules({ added = {} }: TextRules): Partial<AddedTokenRules> {
  return Object.fromEntries(
    Object.entries(added).map(([name, ids]) => [name, new Set(ids)]),
  );
}

type OwnParts =
  & Pick<TokenizerParts, "model" | "addBos" | "addSpacePrefix">
  & Partial<Pick<TokenizerParts, "normalise" | "normaliseToken">>;

function sentencePiece(
  file: Header,
  vocabulary: Vocabulary,
  unk: number | undefined,
  { normalizers, metaspace }: TextRules,
  notes: string[],
): OwnParts {
  const scores = getNumbers(file, "tokenizer.ggml.scores");
  if (scores) checkLength("scores", scores.length, vocabulary.size);
  else notes.push("the file has no tokenizer.ggml.scores: all are 0");
  const bytes = vocabulary.idsOf(TokenType.byte).length;
  if (bytes > 0 && bytes < 256) {
    notes.push(
      `the vocabulary has tokens for ${bytes} of the 256 bytes: texts that need another ${
        unk === undefined ? "cannot be encoded" : "have the unknown token"
      }`,
    );
  }
  const merges = getStrings(file, "tokenizer.ggml.merges");
  const addSpacePrefix = getBoolean(file, "tokenizer.ggml.add_space_prefix") ??
    true;
  const removeExtraWhitespaces =
    getBoolean(file, "tokenizer.ggml.remove_extra_whitespaces") ?? false;
  return {
    model: new SentencePieceBpe(
      vocabulary,
      scores ?? new Float32Array(vocabulary.size),
      unk,
      { metaspace, ranks: merges && rankMerges(vocabulary, merges) },
    ),
    addBos: getBoolean(file, "tokenizer.ggml.add_bos_token") ?? true,
    addSpacePrefix,
    ...(!normalizers && !metaspace && {
      normalise: sentencePieceNormaliser({
        addSpacePrefix,
        removeExtraWhitespaces,
        escapeWhitespaces: true,
      }),
      normaliseToken: (text) => text.replaceAll(" ", SPACE),
    }),
  };
}

function refuseNormaliser(file: Header): void {
  const charsmap = getArray(file, "tokenizer.ggml.precompiled_charsmap");
  if (charsmap && charsmap.values.length > 0) {
    throw new UnsupportedError(
      `Cannot run a SentencePiece normaliser (${charsmap.values.length} bytes of tokenizer.ggml.precompiled_charsmap): only the identity is known`,
    );
  }
}

function byteLevel(
  file: Header,
  vocabulary: Vocabulary,
  { bos, unk }: SpecialIds,
  kind: string,
  { ignoreMerges }: TextRules,
): OwnParts {
  const merges = rankMerges(vocabulary, readStrings(file, "merges"));
  const pre = kind === "gemma4"
    ? kind
    : getString(file, "tokenizer.ggml.pre") ?? "default";
  const named = pretokenizerNamed(pre);
  const pretokenizer = ignoreMerges === undefined
    ? named
    : { ...named, ignoreMerges };
  return {
    model: new ByteLevelBpe(vocabulary, merges, unk, pretokenizer),
    addBos: getBoolean(file, "tokenizer.ggml.add_bos_token") ??
      (pretokenizer.addBos && bos !== undefined),
    addSpacePrefix: false,
  };
}

function readStrings(file: Header, name: string): readonly string[] {
  const strings = getStrings(file, `tokenizer.ggml.${name}`);
  if (strings) return strings;
  throw new TokenizerError(
    `Cannot read the vocabulary: the file has no tokenizer.ggml.${name}`,
  );
}

/** Ids by key; SentencePiece files that do not name the first three have llama.cpp's. */
const idKeys = {
  bos: { key: "bos", fallback: 1 },
  eos: { key: "eos", fallback: 2 },
  unk: { key: "unknown", fallback: 0 },
  eot: { key: "eot" },
  eom: { key: "eom" },
  pad: { key: "fim_pad" },
  prefix: { key: "fim_pre" },
  suffix: { key: "fim_suf" },
  middle: { key: "fim_mid" },
  repository: { key: "fim_rep" },
  separator: { key: "fim_sep" },
} as const;

type SpecialIds = Partial<Record<keyof typeof idKeys, number>>;

/** Those after which a model says no more. */
function endingIds(
  { eos, eot, eom, pad, repository, separator }: SpecialIds,
): (number | undefined)[] {
  return [eos, eot, eom, pad, repository, separator];
}

/** Reads ids; one that is no token of the file counts as not stated. */
function readIds(
  file: Header,
  vocabSize: number,
  isSentencePiece: boolean,
  notes: string[],
): SpecialIds {
  const ids: SpecialIds = {};
  const isId = (id: number) =>
    Number.isInteger(id) && id >= 0 && id < vocabSize;
  for (const [name, each] of Object.entries(idKeys)) {
    const key = `tokenizer.ggml.${each.key}_token_id`;
    const stated = getNumber(file, key);
    const fallback = isSentencePiece && "fallback" in each &&
        each.fallback < vocabSize
      ? each.fallback
      : undefined;
    const isStated = stated !== undefined && isId(stated);
    const id = isStated ? stated : fallback;
    if (stated !== undefined && !isStated) {
      notes.push(
        `${key} is ${stated}, the ids run from 0 to ${vocabSize - 1}: ${
          id === undefined ? "left out" : `taken for ${id}`
        }`,
      );
    }
    if (id !== undefined) ids[name as keyof SpecialIds] = id;
  }
  return ids;
}

/** The type of each token; where the file does not say, it shows in the text. */
function readTypes(
  file: Header,
  tokens: readonly string[],
  { bos, eos, unk }: SpecialIds,
  hasByteTokens: boolean,
  notes: string[],
): ArrayLike<number> {
  const types = getNumbers(file, "tokenizer.ggml.token_type");
  if (types) {
    const odd = Array.from(types).findIndex((type) => !isTokenType(type));
    if (odd >= 0) {
      notes.push(
        `token ${odd} has type ${
          types[odd]
        }, known are 1 to 6: taken for text, as others of such types`,
      );
    }
    return types;
  }
  return tokens.map((text, id) => {
    if (id === unk) return TokenType.unknown;
    if (id === bos || id === eos) return TokenType.control;
    const isByte = hasByteTokens && parseByteToken(text) !== undefined;
    return isByte ? TokenType.byte : TokenType.normal;
  });
}
