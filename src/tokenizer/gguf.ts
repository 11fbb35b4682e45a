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
import {
  type TokenizerParts,
  vocabularyTokenizer,
} from "./vocabulary_tokenizer.ts";

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
  if (kind !== "llama" && kind !== "gpt2") {
    throw new UnsupportedError(
      kind === undefined
        ? "Cannot find a tokenizer: the file has no tokenizer.ggml.model"
        : `Cannot run tokenizer.ggml.model ${
          JSON.stringify(kind)
        }: known are llama (SentencePiece BPE) and gpt2 (byte-level BPE)`,
    );
  }
  const isSentencePiece = kind === "llama";
  if (isSentencePiece) refuseNormaliser(file);
  const tokens = readStrings(file, "tokens");
  const ids = readIds(file, tokens.length, isSentencePiece);
  const { bos, eos, unk, eot, eom } = ids;
  const types = readTypes(file, tokens, ids, isSentencePiece);
  const vocabulary = new Vocabulary(tokens, types);
  return vocabularyTokenizer({
    vocabulary,
    bos,
    eos,
    unk,
    addEos: getBoolean(file, "tokenizer.ggml.add_eos_token") ?? false,
    alwaysParsed: [TokenType.userDefined],
    endOfGeneration: findEndOfGeneration(vocabulary, [eos, eot, eom]),
    ...(isSentencePiece
      ? sentencePiece(file, vocabulary, unk)
      : byteLevel(file, vocabulary, ids)),
  });
}

type OwnParts = Pick<TokenizerParts, "model" | "addBos" | "addSpacePrefix">;

function sentencePiece(
  file: GgufFile,
  vocabulary: Vocabulary,
  unk: number | undefined,
): OwnParts {
  const scores = getNumbers(file, "tokenizer.ggml.scores") ?? [];
  checkLength("scores", scores.length, vocabulary.size);
  const addSpacePrefix = getBoolean(file, "tokenizer.ggml.add_space_prefix") ??
    true;
  return {
    model: new SentencePieceBpe(vocabulary, scores, unk, {
      addSpacePrefix,
      removeExtraWhitespaces:
        getBoolean(file, "tokenizer.ggml.remove_extra_whitespaces") ?? false,
      escapeWhitespaces: true,
    }),
    addBos: getBoolean(file, "tokenizer.ggml.add_bos_token") ?? true,
    addSpacePrefix,
  };
}

function refuseNormaliser(file: GgufFile): void {
  const charsmap = getArray(file, "tokenizer.ggml.precompiled_charsmap");
  if (charsmap && charsmap.values.length > 0) {
    throw new UnsupportedError(
      `Cannot run a SentencePiece normaliser (${charsmap.values.length} bytes of tokenizer.ggml.precompiled_charsmap): only the identity is known`,
    );
  }
}

function byteLevel(
  file: GgufFile,
  vocabulary: Vocabulary,
  { bos, unk }: SpecialIds,
): OwnParts {
  const merges = readStrings(file, "merges");
  const pretokenizer = pretokenizerNamed(
    getString(file, "tokenizer.ggml.pre") ?? "default",
  );
  return {
    model: new ByteLevelBpe(vocabulary, merges, unk, pretokenizer),
    addBos: getBoolean(file, "tokenizer.ggml.add_bos_token") ??
      (pretokenizer.addBos && bos !== undefined),
    addSpacePrefix: false,
  };
}

function readStrings(file: GgufFile, name: string): readonly string[] {
  const strings = getStrings(file, `tokenizer.ggml.${name}`);
  if (strings) return strings;
  throw new TokenizerError(
    `Cannot read the vocabulary: the file has no tokenizer.ggml.${name}`,
  );
}

type SpecialIds = Partial<
  Record<"bos" | "eos" | "unk" | "eot" | "eom", number>
>;

/** A SentencePiece file that does not name the first three has llama.cpp's. */
function readIds(
  file: GgufFile,
  vocabSize: number,
  isSentencePiece: boolean,
): SpecialIds {
  const read = (name: string, fallback = vocabSize) => {
    const key = `tokenizer.ggml.${name}_token_id`;
    const id = getNumber(file, key);
    if (id === undefined) {
      return isSentencePiece && fallback < vocabSize ? fallback : undefined;
    }
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) return id;
    throw new TokenizerError(
      `Cannot use ${key} ${id}: the ids run from 0 to ${vocabSize - 1}`,
    );
  };
  return {
    bos: read("bos", 1),
    eos: read("eos", 2),
    unk: read("unknown", 0),
    eot: read("eot"),
    eom: read("eom"),
  };
}

/** The type of each token; where the file does not say, it shows in the text. */
function readTypes(
  file: GgufFile,
  tokens: readonly string[],
  { bos, eos, unk }: SpecialIds,
  hasByteTokens: boolean,
): ArrayLike<number> {
  const types = getNumbers(file, "tokenizer.ggml.token_type");
  if (types) return types;
  return tokens.map((text, id) => {
    if (id === unk) return TokenType.unknown;
    if (id === bos || id === eos) return TokenType.control;
    const isByte = hasByteTokens && parseByteToken(text) !== undefined;
    return isByte ? TokenType.byte : TokenType.normal;
  });
}
