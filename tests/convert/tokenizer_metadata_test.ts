import assert from "node:assert/strict";
import { tokenizerMetadata } from "../../src/convert/tokenizer_metadata.ts";
import { CulmError } from "../../src/errors.ts";
import type { MetadataArray } from "../../src/formats/gguf/read.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import { readSentencePieceModel } from "../../src/tokenizer/sentencepiece_model.ts";
import { type FileContent, memoryFolder } from "../helpers/memory_folder.ts";
import { tokenizerFromSentencePiece } from "../helpers/sentencepiece.ts";
import { story } from "../helpers/fixtures.ts";
import byteLevel from "../tokenizer/goldens/byte_level_bpe.json" with {
  type: "json",
};
import sentencePiece from "../tokenizer/goldens/sentencepiece.json" with {
  type: "json",
};
import {
  gpt2Part,
  parseIds,
  tinyBambooPieces,
} from "../tokenizer/vocabularies.ts";
import { fileWith } from "../tokenizer/small_vocabularies.ts";
import {
  byteLevelJson,
  mergesOf,
  sentencePieceJson,
} from "./tokenizer_files.ts";

async function metadataOf(
  files: Record<string, FileContent>,
  vocabSize: number,
  config: Record<string, unknown> = {},
) {
  const { metadata } = await tokenizerMetadata(
    memoryFolder(files),
    config,
    vocabSize,
  );
  return Object.fromEntries(metadata);
}

async function tokenizerOf(
  files: Record<string, FileContent>,
  vocabSize: number,
) {
  return tokenizerFromGguf(fileWith(await metadataOf(files, vocabSize)));
}

/** Values by key without `tokenizer.ggml.`; arrays by their length. */
function values(metadata: Awaited<ReturnType<typeof metadataOf>>) {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, { value }]) => [
      key.replace("tokenizer.", "").replace("ggml.", ""),
      typeof value === "object" ? value.values.length : value,
    ]),
  );
}

Deno.test("tokenizer.model gives SentencePiece's ids, as it does without GGUF", async () => {
  const files = { "tokenizer.model": tinyBambooPieces() };
  const metadata = await metadataOf(files, 4096, { pad_token_id: 0 });
  assert.deepEqual(values(metadata), {
    model: "llama",
    pre: "default",
    tokens: 4096,
    scores: 4096,
    token_type: 4096,
    bos_token_id: 1,
    eos_token_id: 2,
    unknown_token_id: 0,
    padding_token_id: 0,
  });
  const tokenizer = tokenizerFromGguf(fileWith(metadata));
  sentencePiece.texts.forEach((text, i) => {
    assert.deepEqual(
      tokenizer.encode(text, { addSpecial: false }),
      parseIds(sentencePiece.ids["tiny-bamboo"][i]),
    );
  });
  const own = tokenizerFromSentencePiece(tinyBambooPieces());
  assert.deepEqual(tokenizer.encode(story()), own.encode(story()));
});

Deno.test("tokenizer.json with byte tokens gives the ids of the tokenizer.model that it was made of", async () => {
  const model = readSentencePieceModel(tinyBambooPieces());
  const pieces = model.pieces.slice(259);
  const json = sentencePieceJson(
    pieces,
    mergesOf(pieces, model.scores.slice(259)),
  );
  const tokenizer = await tokenizerOf({ "tokenizer.json": json }, 4096);
  const own = tokenizerFromSentencePiece(tinyBambooPieces());
  for (
    const each of [story(), " two  spaces", "Füße 竹 🎋\n\ttab", "", "<s>"]
  ) {
    assert.deepEqual(tokenizer.encode(each), own.encode(each));
  }
});

Deno.test("tokenizer.json with bytes as characters gives Hugging Face's ids", async () => {
  const { tokens, merges } = gpt2Part();
  const json = {
    ...byteLevelJson(
      tokens,
      merges.map((merge) => merge.split(" ") as [string, string]),
    ),
    added_tokens: [{ id: 50256, content: "<|endoftext|>", special: true }],
  };
  const settings = { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>" };
  const tokenizer = await tokenizerOf({
    "tokenizer.json": json,
    "tokenizer_config.json": settings,
  }, tokens.length);
  byteLevel.texts.forEach((text, i) => {
    assert.deepEqual(
      tokenizer.encode(text, { addSpecial: false, parseSpecial: true }),
      parseIds(byteLevel.ids["gpt-2"][i]),
    );
  });
});

const json = sentencePieceJson(["a", "b", "ab"], [["a", "b"]]);
const size = 3 + 256 + 3;

Deno.test("special tokens, flags and templates come from the configs", async () => {
  const settings = {
    bos_token: { content: "</s>" },
    eos_token: "ab",
    pad_token: null,
    add_bos_token: false,
    add_eos_token: true,
    chat_template: "{{ messages }}",
  };
  const files = { "tokenizer.json": json, "tokenizer_config.json": settings };
  const { bos_token_id, eos_token_id, ...rest } = values(
    await metadataOf(files, size + 2, {
      bos_token_id: 1,
      eos_token_id: [7, 8],
    }),
  );
  assert.deepEqual([bos_token_id, eos_token_id], [2, size - 1]);
  assert.deepEqual(rest, {
    model: "llama",
    pre: "default",
    tokens: size + 2,
    scores: size + 2,
    token_type: size + 2,
    unknown_token_id: 0,
    add_bos_token: false,
    add_eos_token: true,
    chat_template: "{{ messages }}",
  });
  // Without them: ids of config.json, the post-processor's first token, a file of its own.
  const plain = values(
    await metadataOf(
      { "tokenizer.json": json, "chat_template.jinja": "{{ 1 }}" },
      size,
      { eos_token_id: [7, 8] },
    ),
  );
  assert.deepEqual(
    [plain.bos_token_id, plain.eos_token_id, plain.add_bos_token],
    [1, 7, true],
  );
  assert.equal(plain.chat_template, "{{ 1 }}");
  const named = [
    { name: "tool_use", template: "t" },
    { name: "default", template: "d" },
  ];
  const several = await metadataOf({
    "tokenizer.json": json,
    "tokenizer_config.json": { chat_template: named },
  }, size);
  assert.equal(values(several).chat_template, "d");
});

Deno.test(
  "tokens that are added to a tokenizer.model come behind its own; rows without one are filled",
  async () => {
    const metadata = await metadataOf({
      "tokenizer.model": tinyBambooPieces(),
      "added_tokens.json": { "<|im_end|>": 4096, "<tool>": 4097 },
      "tokenizer_config.json": {
        added_tokens_decoder: {
          0: { content: "<unk>", special: true },
          4096: { content: "<|im_end|>", special: true },
          4097: { content: "<tool>", special: false },
        },
      },
    }, 4100);
    const arrayOf = (key: string) =>
      Array.from(
        (metadata[`tokenizer.ggml.${key}`].value as MetadataArray).values,
      );
    assert.deepEqual(arrayOf("tokens").slice(4096), [
      "<|im_end|>",
      "<tool>",
      "[PAD4098]",
      "[PAD4099]",
    ]);
    assert.deepEqual(arrayOf("token_type").slice(4096), [3, 4, 5, 5]);
    assert.deepEqual(arrayOf("token_type").slice(0, 4), [2, 3, 3, 6]);
    assert.deepEqual(
      arrayOf("scores").slice(4096),
      [-1000, -1000, -10000, -10000],
    );
  },
);

Deno.test("added tokens win over a model's, may leave gaps, and are left out where there is no row", async () => {
  const { metadata, notes } = await tokenizerMetadata(
    memoryFolder({
      "tokenizer.model": tinyBambooPieces(),
      "added_tokens.json": { "<a>": 4096, "<b>": 4099, "<pad>": 4101 },
      "tokenizer_config.json": {
        added_tokens_decoder: { 4095: { content: "<c>", special: true } },
      },
    }),
    {},
    4101,
  );
  const { values } = new Map(metadata).get("tokenizer.ggml.tokens")!
    .value as MetadataArray;
  assert.deepEqual(Array.from(values).slice(4095), [
    "<c>",
    "<a>",
    "[PAD4097]",
    "[PAD4098]",
    "<b>",
    "[PAD4100]",
  ]);
  assert.deepEqual(notes, [
    "added token <pad> has id 4101, the embedding 4101 rows: left out",
  ]);
  const own = tokenizerFromGguf(fileWith(Object.fromEntries(metadata)));
  assert.deepEqual(
    own.encode("<a><c>", { addSpecial: false, parseSpecial: true }),
    [4096, 4095],
  );
});

Deno.test("of a tokenizer.json, too, added tokens without a row are left out", async () => {
  const file = {
    ...json,
    added_tokens: [...json.added_tokens, { id: size, content: "<pad>" }],
  };
  const { metadata, notes } = await tokenizerMetadata(
    memoryFolder({ "tokenizer.json": file }),
    {},
    size,
  );
  assert.deepEqual(notes, [
    `added token <pad> has id ${size}, the embedding ${size} rows: left out`,
  ]);
  const tokens = new Map(metadata).get("tokenizer.ggml.tokens")!.value;
  assert.equal((tokens as MetadataArray).values.length, size);
});

Deno.test("tiktoken's file called tokenizer.model is passed over for a tokenizer.json", async () => {
  const tiktoken = "IQ== 0\nIg== 1\n";
  const { metadata, notes } = await tokenizerMetadata(
    memoryFolder({ "tokenizer.model": tiktoken, "tokenizer.json": json }),
    {},
    size,
  );
  assert.deepEqual(notes, [
    "folder/tokenizer.model is tiktoken's: tokenizer.json is read instead",
  ]);
  const own = await metadataOf({ "tokenizer.json": json }, size);
  assert.deepEqual(Object.fromEntries(metadata), own);
  await assert.rejects(metadataOf({ "tokenizer.model": tiktoken }, size), {
    name: "UnsupportedError",
    message: /tokenizer\.model is tiktoken's, and there is no tokenizer\.json/,
  });
});

Deno.test("what the post-processor puts behind a text is written", async () => {
  const single = [
    { SpecialToken: { id: "<s>" } },
    { Sequence: { id: "A" } },
    { SpecialToken: { id: "</s>" } },
  ];
  const post_processor = { type: "TemplateProcessing", single };
  const written = values(
    await metadataOf({ "tokenizer.json": { ...json, post_processor } }, size),
  );
  assert.deepEqual(
    [written.bos_token_id, written.eos_token_id, written.add_eos_token],
    [1, 2, true],
  );
  const roberta = {
    type: "RobertaProcessing",
    cls: ["<s>", 1],
    sep: ["</s>", 2],
  };
  assert.deepEqual(
    values(
      await metadataOf({
        "tokenizer.json": { ...json, post_processor: roberta },
      }, size),
    ),
    written,
  );
});

Deno.test("what does not fit together is refused by name", async () => {
  const model = { "tokenizer.model": tinyBambooPieces() };
  const wrong: [Record<string, FileContent>, number, RegExp][] = [
    [{}, 10, /neither tokenizer\.model nor tokenizer\.json/],
    [{ "tokenizer.json": "{" }, 10, /tokenizer\.json: it is no JSON/],
    [{ "tokenizer.json": json }, size - 1, /262 tokens, the embedding 261/],
    [{ "tokenizer.model": "{}" }, 10, /SentencePiece model/],
    [
      { ...model, "added_tokens.json": { x: -1 } },
      40000,
      /added token x has id -1, which is no id/,
    ],
    [
      { ...model, "added_tokens.json": { "\u2581the": 4096 } },
      4097,
      /nobody could read its vocabulary: ids \d+ and 4096 are both "\u2581the"/,
    ],
    [
      {
        "tokenizer.json": {
          ...json,
          post_processor: {
            type: "TemplateProcessing",
            single: [
              { SpecialToken: { id: "<s>" } },
              { SpecialToken: { id: "</s>" } },
              { Sequence: { id: "A" } },
            ],
          },
        },
      },
      size,
      /more than one token at an end of a text/,
    ],
    [
      {
        "tokenizer.json": json,
        "tokenizer_config.json": { bos_token: "</s>" },
      },
      size,
      /its texts begin with <s>, where the config names <\/s>/,
    ],
    [
      {
        "tokenizer.json": { ...json, model: { ...json.model, dropout: 0.1 } },
      },
      size,
      /its model has dropout 0\.1, of which GGUF has no key/,
    ],
    [
      { "tokenizer.json": { ...json, normalizer: { type: "Precompiled" } } },
      size,
      /its normalizer .*Precompiled.* is none of NFC/,
    ],
    [
      { "tokenizer.json": byteLevelJson(["a", " "], [["a", " "]]) },
      10,
      /merge 0 has a space/,
    ],
  ];
  for (const [files, vocabSize, message] of wrong) {
    await assert.rejects(
      metadataOf(files, vocabSize),
      (error) => error instanceof CulmError && message.test(error.message),
      String(message),
    );
  }
});
