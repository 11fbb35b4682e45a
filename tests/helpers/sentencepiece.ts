/**
 * Tokenizers straight from SentencePiece's files.
 *
 * @module
 */
import { TokenizerError } from "../../src/errors.ts";
import { findEndOfGeneration } from "../../src/tokenizer/end_of_generation.ts";
import { SPACE } from "../../src/tokenizer/raw_text.ts";
import {
  SentencePieceBpe,
  sentencePieceNormaliser,
} from "../../src/tokenizer/sentencepiece.ts";
import { readSentencePieceModel } from "../../src/tokenizer/sentencepiece_model.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { TokenType, Vocabulary } from "../../src/tokenizer/vocabulary.ts";
import { vocabularyTokenizer } from "../../src/tokenizer/vocabulary_tokenizer.ts";

/** What a SentencePiece model file cannot say: its runtime adds neither by itself. */
export interface SentencePieceOptions {
  /** Whether BOS comes first. Default: where the model has one, as Llama's tokenizers do. */
  readonly addBos?: boolean;
  /** Whether EOS comes last. Default false. */
  readonly addEos?: boolean;
}

/**
 * The tokenizer in a SentencePiece `tokenizer.model`. Conversion
 * writes the same vocabulary into a GGUF file.
 *
 * @throws {FormatError} The bytes are not a SentencePiece model.
 * @throws {UnsupportedError} The model is not BPE, or has a normaliser other than the identity.
 * @throws {TokenizerError} The vocabulary contradicts itself.
 */
export function tokenizerFromSentencePiece(
  bytes: Uint8Array,
  options: SentencePieceOptions = {},
): Tokenizer {
  const model = readSentencePieceModel(bytes);
  const vocabulary = new Vocabulary(model.pieces, model.types);
  const unknown = vocabulary.idsOf(TokenType.unknown);
  if (unknown.length !== 1) {
    throw new TokenizerError(
      `Cannot read the SentencePiece model: it has ${unknown.length} unknown pieces instead of 1`,
    );
  }
  const [unk] = unknown;
  const bos = controlId(vocabulary, model.bosPiece);
  const eos = controlId(vocabulary, model.eosPiece);
  return vocabularyTokenizer({
    vocabulary,
    model: new SentencePieceBpe(vocabulary, model.scores, unk),
    normalise: sentencePieceNormaliser(model),
    normaliseToken: (text) =>
      model.escapeWhitespaces ? text.replaceAll(" ", SPACE) : text,
    bos,
    eos,
    unk,
    addBos: options.addBos ?? bos !== undefined,
    addEos: options.addEos ?? false,
    addSpacePrefix: model.addSpacePrefix,
    // SentencePiece finds user-defined pieces after it has put the space first.
    alwaysParsed: [TokenType.userDefined],
    added: { normalized: new Set(vocabulary.idsOf(TokenType.userDefined)) },
    endOfGeneration: findEndOfGeneration(vocabulary, [eos]),
  });
}

function controlId(vocabulary: Vocabulary, piece: string): number | undefined {
  const id = vocabulary.idOf(piece);
  return id !== undefined && vocabulary.types[id] === TokenType.control
    ? id
    : undefined;
}
