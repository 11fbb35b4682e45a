import { FormatError, UnsupportedError } from "../errors.ts";
import { type ProtobufValue, readProtobuf } from "./protobuf.ts";
import { TokenType } from "./vocabulary.ts";

/** `model_type` of `TrainerSpec`. */
const modelTypes: ReadonlyMap<number, string> = new Map([
  [1, "unigram"],
  [2, "BPE"],
  [3, "word"],
  [4, "char"],
]);
const BPE = 2;

/** What is read of a `ModelProto`, with the defaults of the schema. */
class SentencePieceModel {
  /** Text of each piece */
  readonly pieces: string[] = [];
  /** Of each piece; the highest merges first */
  readonly scores: number[] = [];
  /** What each piece is for, by GGUF's numbers */
  readonly types: number[] = [];
  /** `model_type` of the trainer */
  modelType = 1;
  /** Whether a space is part of the word before it */
  treatWhitespaceAsSuffix = false;
  /** Text of the piece that begins a text */
  bosPiece = "<s>";
  /** Text of the piece that ends a text */
  eosPiece = "</s>";
  /** Bytes of the normaliser's table; 0 = it changes nothing */
  charsmapLength = 0;
  /** Whether a space comes before the first word */
  addSpacePrefix = true;
  /** Whether several spaces become one */
  removeExtraWhitespaces = true;
  /** Whether spaces are written as U+2581 */
  escapeWhitespaces = true;
}

/**
 * What a SentencePiece `tokenizer.model` holds. Field numbers are those of
 * sentencepiece_model.proto.
 *
 * @throws {FormatError} The bytes are not a SentencePiece model.
 * @throws {UnsupportedError} The model is not BPE, or has a normaliser other than the identity.
 */
export function readSentencePieceModel(bytes: Uint8Array): SentencePieceModel {
  const model = readModel(bytes);
  if (model.modelType !== BPE) {
    throw new UnsupportedError(
      `Cannot run a SentencePiece model of type ${
        modelTypes.get(model.modelType) ?? model.modelType
      }: only BPE is known`,
    );
  }
  if (model.treatWhitespaceAsSuffix) {
    throw new UnsupportedError(
      "Cannot run a SentencePiece model with treat_whitespace_as_suffix: only a space before each word is known",
    );
  }
  if (model.charsmapLength > 0) {
    throw new UnsupportedError(
      `Cannot run a SentencePiece normaliser (${model.charsmapLength} bytes of precompiled_charsmap): only the identity is known`,
    );
  }
  return model;
}

function readModel(bytes: Uint8Array): SentencePieceModel {
  const model = new SentencePieceModel();
  for (const [field, value] of readProtobuf(bytes, "the SentencePiece model")) {
    if (field === 1) readPiece(message(value, "pieces"), model);
    if (field === 2) readTrainer(message(value, "trainer_spec"), model);
    if (field === 3) readNormalizer(message(value, "normalizer_spec"), model);
    if (field === 5) readDenormalizer(message(value, "denormalizer_spec"));
  }
  return model;
}

function readPiece(bytes: Uint8Array, model: SentencePieceModel): void {
  const subject = `piece ${model.pieces.length} of the SentencePiece model`;
  let piece = "";
  let score = 0;
  let type: number = TokenType.normal;
  for (const [field, value] of readProtobuf(bytes, subject)) {
    if (field === 1) piece = text(value, subject);
    if (field === 2) score = number(value, subject);
    if (field === 3) type = number(value, subject);
  }
  model.pieces.push(piece);
  model.scores.push(score);
  model.types.push(type);
}

function readTrainer(bytes: Uint8Array, model: SentencePieceModel): void {
  const subject = "trainer_spec of the SentencePiece model";
  for (const [field, value] of readProtobuf(bytes, subject)) {
    if (field === 3) model.modelType = number(value, subject);
    if (field === 24) model.treatWhitespaceAsSuffix = flag(value, subject);
    if (field === 46) model.bosPiece = text(value, subject);
    if (field === 47) model.eosPiece = text(value, subject);
  }
}

function readNormalizer(bytes: Uint8Array, model: SentencePieceModel): void {
  const subject = "normalizer_spec of the SentencePiece model";
  for (const [field, value] of readProtobuf(bytes, subject)) {
    if (field === 2) model.charsmapLength = message(value, subject).length;
    if (field === 3) model.addSpacePrefix = flag(value, subject);
    if (field === 4) model.removeExtraWhitespaces = flag(value, subject);
    if (field === 5) model.escapeWhitespaces = flag(value, subject);
  }
}

function readDenormalizer(bytes: Uint8Array): void {
  const subject = "denormalizer_spec of the SentencePiece model";
  for (const [field, value] of readProtobuf(bytes, subject)) {
    const length = field === 2 ? message(value, subject).length : 0;
    if (length > 0) {
      throw new UnsupportedError(
        `Cannot run a SentencePiece denormaliser (${length} bytes of precompiled_charsmap): only the identity is known`,
      );
    }
  }
}

function message(value: ProtobufValue, subject: string): Uint8Array {
  if (typeof value === "number") throw wrongType(subject, "bytes", "a number");
  return value;
}

function number(value: ProtobufValue, subject: string): number {
  if (typeof value !== "number") throw wrongType(subject, "a number", "bytes");
  return value;
}

function flag(value: ProtobufValue, subject: string): boolean {
  return number(value, subject) !== 0;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function text(value: ProtobufValue, subject: string): string {
  try {
    return utf8.decode(message(value, subject));
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(`Cannot read ${subject}: its text is not UTF-8`);
  }
}

function wrongType(
  subject: string,
  expected: string,
  found: string,
): FormatError {
  return new FormatError(
    `Cannot read ${subject}: expected ${expected}, the file has ${found}`,
  );
}
