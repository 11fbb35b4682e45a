import assert from "node:assert/strict";
import fc from "fast-check";
import {
  CulmError,
  FormatError,
  TokenizerError,
  UnsupportedError,
} from "../../src/errors.ts";
import type { MetadataEntry } from "../../src/formats/gguf/gguf_file.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import {
  arrayEntry,
  booleanEntry,
  byteLevelMetadata,
  fileWith,
  numberEntry,
  sentencePieceMetadata,
  stringEntry,
} from "./small_vocabularies.ts";

type Metadata = Record<string, MetadataEntry>;
const key = (name: string) => `tokenizer.ggml.${name}`;

/** Reads SentencePiece metadata of 261 tokens after a change; undefined removes a key. */
function readSentencePiece(changes: Record<string, MetadataEntry | undefined>) {
  return read(sentencePieceMetadata(["\u2581", "a"]), changes);
}

/** Reads byte-level metadata after a change. */
function readByteLevel(changes: Record<string, MetadataEntry | undefined>) {
  return read(byteLevelMetadata({ extraTokens: ["ab"] }), changes);
}

function read(
  metadata: Metadata,
  changes: Record<string, MetadataEntry | undefined>,
) {
  for (const [name, entry] of Object.entries(changes)) {
    if (entry) metadata[key(name)] = entry;
    else delete metadata[key(name)];
  }
  return tokenizerFromGguf(fileWith(metadata));
}

function values<T>(metadata: Metadata, name: string): T[] {
  const { value } = metadata[key(name)];
  return [...(value as unknown as { values: T[] }).values];
}

const strings = (...texts: string[]) => arrayEntry("string", texts);

Deno.test("arrays that are not as long as the tokens are refused with both lengths", () => {
  assert.throws(
    () => readSentencePiece({ scores: arrayEntry("float32", [0, 1]) }),
    { name: "TokenizerError", message: /261 tokens, but 2 scores/ },
  );
  assert.throws(
    () => readSentencePiece({ token_type: arrayEntry("int32", [1]) }),
    { name: "TokenizerError", message: /261 tokens, but 1 types/ },
  );
});

Deno.test("special ids outside of the vocabulary are as if they were not there, and noted", () => {
  const plain = readSentencePiece({});
  for (const id of ["bos", "eos", "unknown", "eot", "eom"]) {
    for (const wrong of [261, 0xffffffff]) {
      const tokenizer = readSentencePiece({
        [`${id}_token_id`]: numberEntry(wrong),
      });
      assert.equal(tokenizer.notes?.length, 1);
      assert.match(
        tokenizer.notes[0],
        new RegExp(`${id}_token_id is ${wrong}, the ids run from 0 to 260`),
      );
      assert.deepEqual(
        [tokenizer.bos, tokenizer.eos, tokenizer.unk],
        [plain.bos, plain.eos, plain.unk],
      );
    }
  }
  const { eos, notes } = readByteLevel({ eos_token_id: numberEntry(1e6) });
  assert.equal(eos, undefined);
  assert.match(notes![0], /eos_token_id is 1000000, .*: left out/);
});

Deno.test("without scores all pieces merge alike, which is noted", () => {
  const tokenizer = readSentencePiece({ scores: undefined });
  assert.deepEqual(tokenizer.encode("a a"), [1, 259, 260, 259, 260]);
  assert.match(tokenizer.notes![0], /no tokenizer\.ggml\.scores/);
});

Deno.test("BOS that is to be added must have an id", () => {
  assert.throws(
    () => readByteLevel({ add_bos_token: booleanEntry(true) }),
    TokenizerError,
  );
});

Deno.test("a vocabulary without tokens is refused", () => {
  for (const tokens of [strings(), undefined]) {
    assert.throws(() => readSentencePiece({ tokens }), TokenizerError);
    assert.throws(() => readByteLevel({ tokens }), TokenizerError);
  }
});

Deno.test("a text with two ids is refused with both", () => {
  const metadata = sentencePieceMetadata(["a", "b", "a"]);
  assert.throws(() => tokenizerFromGguf(fileWith(metadata)), {
    name: "TokenizerError",
    message: /ids 259 and 261 are both "a"/,
  });
});

Deno.test("tokens without a text are kept, and never come out of a text", () => {
  const tokenizer = tokenizerFromGguf(
    fileWith(sentencePieceMetadata(["\u2581", "a", "", ""])),
  );
  assert.equal(tokenizer.vocabSize, 263);
  assert.deepEqual(tokenizer.encode("a"), [1, 259, 260]);
  assert.equal(tokenizer.decode([261]), "");
});

/** The tokens of a small vocabulary, one of which has another text. */
function withToken(from: string, to: string) {
  const tokens = values<string>(
    sentencePieceMetadata(["\u2581", "a"]),
    "tokens",
  );
  tokens[tokens.indexOf(from)] = to;
  return strings(...tokens);
}

Deno.test("doubled and misspelled byte tokens are refused", () => {
  const change = (from: string, to: string) => () =>
    readSentencePiece({ tokens: withToken(from, to) });
  assert.throws(change("<0x0A>", "<0xZZ>"), TokenizerError);
  assert.throws(change("<0x0A>", "<0x0b>"), {
    name: "TokenizerError",
    message: /token 14: "<0x0B>" is byte 11, which token 13 is/,
  });
});

Deno.test("a byte token that is missing is missed only in a text that needs it", () => {
  const types = values<number>(
    sentencePieceMetadata(["\u2581", "a"]),
    "token_type",
  );
  types[13] = 1;
  const metadata = {
    tokens: withToken("<0x0A>", "newline"),
    token_type: arrayEntry("int32", types),
  };
  const tokenizer = readSentencePiece(metadata);
  assert.deepEqual(tokenizer.encode("a\t"), [1, 259, 260, 12]);
  assert.deepEqual(tokenizer.encode("a\n"), [1, 259, 260, 0]);
  assert.deepEqual(tokenizer.notes, [
    "the vocabulary has tokens for 255 of the 256 bytes: texts that need another have the unknown token",
  ]);
});

Deno.test("without byte tokens, unknown characters become the unknown token", () => {
  const vocabulary = {
    tokens: strings("<unk>", "<s>", "</s>", "\u2581", "a"),
    scores: arrayEntry("float32", [0, 0, 0, -1, -2]),
    token_type: arrayEntry("int32", [2, 3, 3, 1, 1]),
  };
  const tokenizer = readSentencePiece(vocabulary);
  assert.deepEqual(tokenizer.encode("a\u{1f999}bc a"), [1, 3, 4, 0, 3, 4]);
});

Deno.test("types that are missing show in the texts", () => {
  const tokenizer = readSentencePiece({ token_type: undefined });
  assert.ok(tokenizer.isSpecial(0) && tokenizer.isSpecial(1));
  assert.deepEqual(tokenizer.encode("\n"), [1, 259, 13]);
  assert.equal(tokenizer.decode([13]), "\n");
});

Deno.test("scores that are not numbers are refused; tokens of unknown types are text, which is noted", () => {
  const metadata = sentencePieceMetadata(["\u2581", "a"]);
  const scores = values<number>(metadata, "scores");
  scores[7] = NaN;
  assert.throws(
    () => readSentencePiece({ scores: arrayEntry("float32", scores) }),
    { name: "TokenizerError", message: /token 7/ },
  );
  const types = values<number>(metadata, "token_type");
  types[7] = 9;
  types[260] = 0;
  const tokenizer = readSentencePiece({
    token_type: arrayEntry("int32", types),
  });
  assert.deepEqual(tokenizer.encode("a"), [1, 259, 260]);
  assert.deepEqual(tokenizer.notes, [
    "token 7 has type 9, known are 1 to 6: taken for text, as others of such types",
    "the vocabulary has tokens for 255 of the 256 bytes: texts that need another have the unknown token",
  ]);
});

Deno.test("merges must be two tokens that make a third", () => {
  for (const merge of ["", "a", "a ", " b", "a b c", "a  b"]) {
    assert.throws(() => readByteLevel({ merges: strings(merge) }), {
      name: "TokenizerError",
      message: /merge 0/,
    });
  }
  for (const merge of ["b a", "a xyz", "xyz a", "ab ab"]) {
    assert.throws(() => readByteLevel({ merges: strings("a b", merge) }), {
      name: "TokenizerError",
      message: /merge 1/,
    });
  }
  assert.throws(() => readByteLevel({ merges: undefined }), TokenizerError);
  const doubled = readByteLevel({ merges: strings("a b", "a b") });
  assert.equal(doubled.encode("ab").length, 1);
});

Deno.test("a byte that nothing stands for is an error that names it", () => {
  const metadata = byteLevelMetadata({ withoutBytes: [0x62] });
  const tokenizer = tokenizerFromGguf(fileWith(metadata));
  assert.throws(() => tokenizer.encode("abc"), {
    name: "TokenizerError",
    message: /byte 98/,
  });
});

Deno.test("a special token too long to look for is refused", () => {
  const metadata = byteLevelMetadata({ control: ["x".repeat(513)] });
  assert.throws(() => tokenizerFromGguf(fileWith(metadata)), {
    name: "TokenizerError",
    message: /513 characters, the limit .* 512/,
  });
});

Deno.test("vocabularies of other kinds are refused with those that are known", () => {
  assert.throws(() => readByteLevel({ model: stringEntry("t5") }), {
    name: "UnsupportedError",
    message: /"t5" \(Unigram\): known are llama .* gpt2/,
  });
  for (
    const [model, name] of [
      ["bert", "WordPiece"],
      ["rwkv", "RWKV's"],
      ["plamo2", "PLaMo-2's"],
    ]
  ) {
    assert.throws(() => readByteLevel({ model: stringEntry(model) }), {
      name: "UnsupportedError",
      message: new RegExp(`"${model}" \\(${name}\\): known are`),
    });
  }
  assert.throws(() => readByteLevel({ model: undefined }), UnsupportedError);
  assert.throws(() => readByteLevel({ pre: stringEntry("mystery") }), {
    name: "UnsupportedError",
    message: /"mystery": known are .*command-r, .*gpt-2, .*smollm/,
  });
  assert.throws(
    () =>
      readSentencePiece({
        precompiled_charsmap: arrayEntry("uint8", [1, 2, 3]),
      }),
    UnsupportedError,
  );
});

Deno.test("metadata of the wrong type is refused", () => {
  for (
    const name of ["model", "tokens", "scores", "token_type", "add_bos_token"]
  ) {
    const wrong = name === "model" ? numberEntry(1) : stringEntry("x");
    assert.throws(() => readSentencePiece({ [name]: wrong }), FormatError);
  }
});

Deno.test("ends of generation are found by id and by text", () => {
  const metadata = byteLevelMetadata({
    control: ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<stop>", "<last>"],
    extraTokens: ["</s>"],
  });
  const tokens = values<string>(metadata, "tokens");
  metadata[key("eos_token_id")] = numberEntry(tokens.indexOf("<stop>"));
  metadata[key("eot_token_id")] = numberEntry(tokens.indexOf("<last>"));
  const tokenizer = tokenizerFromGguf(fileWith(metadata));
  const ends = tokens.filter((_, id) => tokenizer.isEndOfGeneration(id));
  // The plain token </s> is HTML, not the end.
  assert.deepEqual(ends.sort(), [
    "<last>",
    "<stop>",
    "<|eot_id|>",
    "<|im_end|>",
  ]);
});

Deno.test("any metadata give a tokenizer that works or a typed error", () => {
  const token = fc.oneof(
    fc.constantFrom("a", "b", "ab", "<s>", "<0x0A>", "", "\u2581", "\u2581a"),
    fc.string({ unit: "binary", maxLength: 4 }),
  );
  const anyMetadata = fc.record({
    model: fc.constantFrom("llama", "gpt2"),
    tokens: fc.array(token),
    scores: fc.array(fc.float()),
    token_type: fc.array(fc.integer({ min: 0, max: 7 })),
    merges: fc.array(fc.tuple(token, token).map((pair) => pair.join(" "))),
    bos: fc.nat(9),
  });
  fc.assert(
    fc.property(anyMetadata, fc.boolean(), fc.string(), (made, fit, text) => {
      // Half of the cases have arrays of one length, to get further.
      const count = fit ? made.tokens.length : undefined;
      const fitted = <T>(array: T[], filler: T) =>
        count === undefined
          ? array
          : Array.from({ length: count }, (_, i) => array[i] ?? filler);
      const file = fileWith({
        [key("model")]: stringEntry(made.model),
        [key("tokens")]: strings(...made.tokens),
        [key("scores")]: arrayEntry("float32", fitted(made.scores, 0)),
        [key("token_type")]: arrayEntry("int32", fitted(made.token_type, 1)),
        [key("merges")]: strings(...made.merges),
        [key("bos_token_id")]: numberEntry(made.bos),
      });
      try {
        const tokenizer = tokenizerFromGguf(file);
        for (const parseSpecial of [false, true]) {
          const ids = tokenizer.encode(text, { parseSpecial });
          assert.ok(ids.every((id) => id >= 0 && id < tokenizer.vocabSize));
          tokenizer.decode(ids);
        }
      } catch (error) {
        assert.ok(error instanceof CulmError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("a token that ends a turn by its text does so whatever its type, which is noted", () => {
  const metadata = byteLevelMetadata({
    extraTokens: ["<|im_end|>", "<|fim_prefix|>"],
    control: ["<|end|>", "<|channel|>"],
  });
  const tokens = values<string>(metadata, "tokens");
  const tokenizer = tokenizerFromGguf(fileWith(metadata));
  const [end, prefix, channel] = ["<|im_end|>", "<|fim_prefix|>", "<|channel|>"]
    .map((text) => tokens.indexOf(text));
  assert.ok(tokenizer.isEndOfGeneration(end));
  assert.ok(!tokenizer.isEndOfGeneration(prefix));
  // They come out of a text on request alone, and not into one.
  for (const id of [end, prefix]) {
    assert.ok(tokenizer.isSpecial(id));
    assert.ok(!tokenizer.encode(tokens[id]).includes(id));
    assert.deepEqual(tokenizer.encode(tokens[id], { parseSpecial: true }), [
      id,
    ]);
  }
  // gpt-oss shows the parts of its answers.
  assert.equal(tokenizer.decode([channel]), "<|channel|>");
  assert.deepEqual(tokenizer.notes?.map((note) => note.slice(0, 30)), [
    `token ${end}, "<|im_end|>", is a control token`.slice(0, 30),
    `token ${prefix}, "<|fim_prefix|>", is a`.slice(0, 30),
  ]);
});

Deno.test("<|end|> ends a part of an answer where other tokens end it whole", () => {
  const ends = (control: string[]) => {
    const metadata = byteLevelMetadata({ control });
    const tokenizer = tokenizerFromGguf(fileWith(metadata));
    return values<string>(metadata, "tokens")
      .filter((_, id) => tokenizer.isEndOfGeneration(id));
  };
  assert.deepEqual(ends(["<|end|>"]), ["<|end|>"]);
  assert.deepEqual(ends(["<|end|>", "<|return|>", "<|call|>"]), [
    "<|return|>",
    "<|call|>",
  ]);
});
