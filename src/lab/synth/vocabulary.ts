import { UsageError } from "../../errors.ts";
import { entry, type MetadataEntry } from "../../formats/gguf/gguf_file.ts";
import { TokenType } from "../../tokenizer/vocabulary.ts";

/** How SentencePiece writes a space (U+2581). */
const space = "\u2581";
const letters = [..."etaoinshrdlcumwfgypbvkjxqz"];
const special = ["<unk>", "<s>", "</s>"];
const specialTypes = [TokenType.unknown, TokenType.control, TokenType.control];
const byteTokens = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);
const characters = [
  space,
  ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)),
];

/** A vocabulary holds at least these. */
const leastTokens = special.length + byteTokens.length + characters.length;

/**
 * A vocabulary of `size` tokens without a text to learn it from: bytes,
 * printable characters, and runs of letters by length, in the order of their
 * ids, with scores by SentencePiece's rule: the highest merges first.
 *
 * @throws {UsageError} where that has no room for bytes and characters
 */
function makeVocabulary(size: number) {
  if (size < leastTokens) {
    throw new UsageError(
      `Cannot make a vocabulary of ${size} tokens: needs ${leastTokens} or more`,
    );
  }
  const tokens = [...special, ...byteTokens, ...characters];
  const first = tokens.length;
  for (const run of runsOfLetters()) {
    if (tokens.length >= size) break;
    tokens.push(run);
  }
  const types = [
    ...specialTypes,
    ...byteTokens.map(() => TokenType.byte),
    ...tokens.slice(special.length + 256).map(() => TokenType.normal),
  ];
  // Long runs win over short ones, as the merges of a learnt model would.
  const scores = tokens.map((_, id) => id < first ? -1e6 : id - first - size);
  return { tokens, scores, types };
}

/**
 * The tokenizer's metadata for a vocabulary of `size` tokens.
 *
 * @throws {UsageError} where that has no room for bytes and characters
 */
export function tokenizerMetadata(size: number): [string, MetadataEntry][] {
  const { tokens, scores, types } = makeVocabulary(size);
  return [
    ["tokenizer.ggml.model", entry.text("llama")],
    ["tokenizer.ggml.tokens", entry.texts(tokens)],
    ["tokenizer.ggml.scores", entry.reals(scores)],
    ["tokenizer.ggml.token_type", entry.wholes(types)],
    ["tokenizer.ggml.bos_token_id", entry.whole(1)],
    ["tokenizer.ggml.eos_token_id", entry.whole(2)],
    ["tokenizer.ggml.unknown_token_id", entry.whole(0)],
  ];
}

/**
 * The same vocabulary as Hugging Face's tokenizer.json.
 *
 * @throws {UsageError} where `size` has no room for bytes and characters
 */
export function tokenizerJson(size: number): object {
  const { tokens } = makeVocabulary(size);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  // Every way to make a run of two, the run of the highest score first.
  const merges = tokens.slice(leastTokens).reverse().flatMap((run) =>
    Array.from(
      { length: run.length - 1 },
      (_, i) => [run.slice(0, i + 1), run.slice(i + 1)],
    ).filter((parts) => parts.every((part) => ids.has(part)))
  );
  return {
    version: "1.0",
    added_tokens: special.map((content, id) => ({
      id,
      content,
      special: true,
    })),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: space },
        { type: "Replace", pattern: { String: " " }, content: space },
      ],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: special[1] } }, { Sequence: { id: "A" } }],
    },
    model: {
      type: "BPE",
      unk_token: special[0],
      byte_fallback: true,
      vocab: Object.fromEntries(ids),
      merges,
    },
  };
}

/** `▁e`, `▁t`, …, `ee`, `et`, …, `▁ee`, …: runs of two, three, … without end. */
function* runsOfLetters(): Generator<string> {
  let shorter = [space, ...letters];
  for (;;) {
    const longer: string[] = [];
    for (const start of shorter) {
      for (const letter of letters) {
        yield start + letter;
        longer.push(start + letter);
      }
    }
    shorter = longer;
  }
}
