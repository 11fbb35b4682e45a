import { TokenizerError, UnsupportedError } from "../errors.ts";
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
import { findEndOfGeneration } from "./end_of_generation.ts";
import { pretokenizerNamed } from "./pretokenizer.ts";
import { parseByteToken, SentencePieceBpe } from "./sentencepiece.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { checkLength, TokenType, Vocabulary } from "./vocabulary.ts";
import { VocabularyTokenizer } from "./vocabulary_tokenizer.ts";

/**
 * The tokenizer in a GGUF file's metadata: SentencePiece BPE
 * (`tokenizer.ggml.model` = `llama`) or byte-level BPE (`gpt2`).
 *
 * @throws {UnsupportedError} The vocabulary is of another kind, or needs a normaliser or pre-tokenizer that is not known.
 * @throws {TokenizerError} The vocabulary contradicts itself.
 * @throws {FormatError} A metadata value has the wrong type.
 */
export function tokenizerFromGguf(file: GgufFile): Tokenizer {
  const kind = getString(file, "tokenizer.ggml.model");
  if (kind === "llama") return readSentencePiece(file);
  if (kind === "gpt2") return readByteLevel(file);
  throw new UnsupportedError(
    kind === undefined
      ? "Cannot find a tokenizer: the file has no tokenizer.ggml.model"
      : `Cannot run tokenizer.ggml.model ${
        JSON.stringify(kind)
      }: known are llama (SentencePiece BPE) and gpt2 (byte-level BPE)`,
  );
}

/** llama.cpp's ids for a SentencePiece file that does not name them. */
const sentencePieceIds = { unk: 0, bos: 1, eos: 2 };

function readSentencePiece(file: GgufFile): Tokenizer {
  const charsmap = getArray(file, "tokenizer.ggml.precompiled_charsmap");
  if (charsmap && charsmap.values.length > 0) {
    throw new UnsupportedError(
      `Cannot run a SentencePiece normaliser (${charsmap.values.length} bytes of tokenizer.ggml.precompiled_charsmap): only the identity is known`,
    );
  }
  const tokens = readTokens(file);
  const ids = readIds(file, tokens.length);
  const unk = ids.unk ?? within(sentencePieceIds.unk, tokens.length);
  const bos = ids.bos ?? within(sentencePieceIds.bos, tokens.length);
  const eos = ids.eos ?? within(sentencePieceIds.eos, tokens.length);
  const vocabulary = new Vocabulary(
    tokens,
    readTypes(file, tokens, { bos, eos, unk }, true),
  );
  const scores = getNumbers(file, "tokenizer.ggml.scores");
  checkLength("scores", scores?.length ?? 0, tokens.length);
  const addSpacePrefix = getBoolean(file, "tokenizer.ggml.add_space_prefix") ??
    true;
  return new VocabularyTokenizer({
    vocabulary,
    model: new SentencePieceBpe(vocabulary, scores!, unk, {
      addSpacePrefix,
      removeExtraWhitespaces:
        getBoolean(file, "tokenizer.ggml.remove_extra_whitespaces") ?? false,
      escapeWhitespaces: true,
    }),
    bos,
    eos,
    unk,
    addBos: getBoolean(file, "tokenizer.ggml.add_bos_token") ?? true,
    addEos: getBoolean(file, "tokenizer.ggml.add_eos_token") ?? false,
    addSpacePrefix,
    alwaysParsed: [TokenType.userDefined],
    endOfGeneration: findEndOfGeneration(vocabulary, [eos, ids.eot, ids.eom]),
  });
}

function readByteLevel(file: GgufFile): Tokenizer {
  const tokens = readTokens(file);
  const { bos, eos, unk, eot, eom } = readIds(file, tokens.length);
  const vocabulary = new Vocabulary(
    tokens,
    readTypes(file, tokens, { bos, eos, unk }, false),
  );
  const merges = getStrings(file, "tokenizer.ggml.merges");
  if (!merges) {
    throw new TokenizerError(
      "Cannot read the vocabulary: the file has no tokenizer.ggml.merges",
    );
  }
  const pretokenizer = pretokenizerNamed(
    getString(file, "tokenizer.ggml.pre") ?? "default",
  );
  return new VocabularyTokenizer({
    vocabulary,
    model: new ByteLevelBpe(vocabulary, merges, unk, pretokenizer),
    bos,
    eos,
    unk,
    addBos: getBoolean(file, "tokenizer.ggml.add_bos_token") ??
      (pretokenizer.addBos && bos !== undefined),
    addEos: getBoolean(file, "tokenizer.ggml.add_eos_token") ?? false,
    addSpacePrefix: false,
    alwaysParsed: [TokenType.userDefined],
    endOfGeneration: findEndOfGeneration(vocabulary, [eos, eot, eom]),
  });
}

function readTokens(file: GgufFile): readonly string[] {
  const tokens = getStrings(file, "tokenizer.ggml.tokens");
  if (!tokens) {
    throw new TokenizerError(
      "Cannot read the vocabulary: the file has no tokenizer.ggml.tokens",
    );
  }
  return tokens;
}

interface SpecialIds {
  readonly bos?: number;
  readonly eos?: number;
  readonly unk?: number;
  readonly eot?: number;
  readonly eom?: number;
}

function readIds(file: GgufFile, vocabSize: number): SpecialIds {
  const read = (name: string): number | undefined => {
    const key = `tokenizer.ggml.${name}_token_id`;
    const id = getNumber(file, key);
    if (id !== undefined && within(id, vocabSize) === undefined) {
      throw new TokenizerError(
        `Cannot use ${key} ${id}: the ids run from 0 to ${vocabSize - 1}`,
      );
    }
    return id;
  };
  return {
    bos: read("bos"),
    eos: read("eos"),
    unk: read("unknown"),
    eot: read("eot"),
    eom: read("eom"),
  };
}

function within(id: number, vocabSize: number): number | undefined {
  return Number.isInteger(id) && id >= 0 && id < vocabSize ? id : undefined;
}

/** The type of each token; where the file does not say, it shows in the text. */
function readTypes(
  file: GgufFile,
  tokens: readonly string[],
  { bos, eos, unk }: SpecialIds,
  hasByteTokens: boolean,
): readonly number[] {
  const types = getNumbers(file, "tokenizer.ggml.token_type");
  if (types) return types;
  return tokens.map((text, id) => {
    if (id === unk) return TokenType.unknown;
    if (id === bos || id === eos) return TokenType.control;
    const isByte = hasByteTokens && parseByteToken(text) !== undefined;
    return isByte ? TokenType.byte : TokenType.normal;
  });
}
