/** `tokenizer.json` files as Hugging Face's converters write them. */

type Merge = readonly [string, string];

/** A byte-level file that cuts texts as GPT-2 does. */
export function byteLevelJson(
  tokens: readonly string[],
  merges: readonly Merge[],
) {
  return {
    version: "1.0",
    added_tokens: [] as object[],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
    post_processor: { type: "ByteLevel", trim_offsets: false },
    model: {
      type: "BPE",
      unk_token: null,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

const bytes = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);

/** A file with the special tokens of Llama, byte tokens, and these pieces behind them. */
export function sentencePieceJson(
  pieces: readonly string[],
  merges: readonly Merge[],
) {
  const special = ["<unk>", "<s>", "</s>"];
  const tokens = [...special, ...bytes, ...pieces];
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
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "<s>", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

/** The merges of a SentencePiece model: every way to make a piece of two, the best piece first. */
export function mergesOf(
  pieces: readonly string[],
  scores: readonly number[],
): Merge[] {
  const ids = new Map(pieces.map((piece, id) => [piece, id]));
  const merges = pieces.flatMap((piece, id) => {
    const characters = [...piece];
    return characters.slice(1).flatMap((_, i) => {
      const left = characters.slice(0, i + 1).join("");
      const right = characters.slice(i + 1).join("");
      return ids.has(left) && ids.has(right) ? [{ left, right, id }] : [];
    });
  });
  return merges.sort((a, b) => scores[b.id] - scores[a.id] || a.id - b.id)
    .map(({ left, right }) => [left, right]);
}
