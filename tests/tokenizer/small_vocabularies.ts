/** Vocabularies of a few hundred tokens, as metadata of GGUF files. */
import type {
  GgufFile,
  MetadataEntry,
  MetadataType,
} from "../../src/formats/gguf/gguf_file.ts";
import { toByteAlphabet } from "../../src/tokenizer/byte_alphabet.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

/** A file with these metadata and no tensors. */
export function fileWith(metadata: Record<string, MetadataEntry>): GgufFile {
  return {
    magic: "GGUF",
    version: 3,
    alignment: 32,
    metadata: new Map(Object.entries(metadata)),
    tensors: new Map(),
    size: 0,
  };
}

/** A string as metadata. */
export function stringEntry(value: string): MetadataEntry {
  return { type: "string", value };
}

/** A number as metadata. */
export function numberEntry(value: number): MetadataEntry {
  return { type: "uint32", value };
}

/** A boolean as metadata. */
export function booleanEntry(value: boolean): MetadataEntry {
  return { type: "bool", value };
}

/** An array as metadata. */
export function arrayEntry(
  elementType: MetadataType,
  values: readonly (string | number)[],
): MetadataEntry {
  return { type: "array", value: { elementType, values } };
}

/** Metadata of a SentencePiece vocabulary: `<unk>`, `<s>`, `</s>`, the byte tokens, and `pieces`. */
export function sentencePieceMetadata(
  pieces: readonly string[],
): Record<string, MetadataEntry> {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, ...pieces];
  const types = [2, 3, 3, ...bytes.map(() => 6), ...pieces.map(() => 1)];
  return {
    "tokenizer.ggml.model": stringEntry("llama"),
    "tokenizer.ggml.tokens": arrayEntry("string", tokens),
    "tokenizer.ggml.scores": arrayEntry(
      "float32",
      tokens.map((_, id) => -id),
    ),
    "tokenizer.ggml.token_type": arrayEntry("int32", types),
    "tokenizer.ggml.bos_token_id": numberEntry(1),
    "tokenizer.ggml.eos_token_id": numberEntry(2),
    "tokenizer.ggml.unknown_token_id": numberEntry(0),
  };
}

/** What to put into a byte-level vocabulary. */
export interface ByteLevelOptions {
  readonly extraTokens?: readonly string[];
  readonly merges?: readonly string[];
  readonly control?: readonly string[];
  readonly userDefined?: readonly string[];
  readonly withoutBytes?: readonly number[];
  readonly unknown?: string;
  readonly pre?: string;
}

/** Metadata of a byte-level vocabulary: a token for each byte that UTF-8 has, and others. */
export function byteLevelMetadata(
  options: ByteLevelOptions = {},
): Record<string, MetadataEntry> {
  // Every byte that UTF-8 has: in two-byte characters, and as the first of longer ones.
  const bytes = new Set<string>();
  for (let code = 0; code < 0x110000; code += code < 0x800 ? 1 : 0x400) {
    const isLeftOut = options.withoutBytes?.includes(code);
    const units = isLeftOut ? "" : toByteAlphabet(String.fromCodePoint(code));
    for (const unit of units) bytes.add(unit);
  }
  const {
    extraTokens = [],
    merges = [],
    control = [],
    userDefined = [],
    unknown,
    pre = "gpt-2",
  } = options;
  const tokens = [...bytes, ...extraTokens, ...control, ...userDefined];
  const types = [
    ...[...bytes, ...extraTokens].map(() => 1),
    ...control.map(() => 3),
    ...userDefined.map(() => 4),
  ];
  return {
    "tokenizer.ggml.model": stringEntry("gpt2"),
    "tokenizer.ggml.pre": stringEntry(pre),
    "tokenizer.ggml.tokens": arrayEntry("string", tokens),
    "tokenizer.ggml.token_type": arrayEntry("int32", types),
    "tokenizer.ggml.merges": arrayEntry("string", merges),
    ...(unknown !== undefined && {
      "tokenizer.ggml.unknown_token_id": numberEntry(tokens.indexOf(unknown)),
    }),
  };
}

/** A byte-level tokenizer of these parts. */
export function byteLevelVocabulary(options: ByteLevelOptions): Tokenizer {
  return tokenizerFromGguf(fileWith(byteLevelMetadata(options)));
}
