import assert from "node:assert/strict";
import { openFile } from "../../src/bytes/file.ts";
import { tokenizerMetadata } from "../../src/convert/tokenizer_metadata.ts";
import { CulmError } from "../../src/errors.ts";
import {
  getStrings,
  type MetadataArray,
  readGguf,
} from "../../src/formats/gguf/read.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import { readSentencePieceModel } from "../../src/tokenizer/sentencepiece_model.ts";
import { type FileContent, memoryFolder } from "../helpers/memory_folder.ts";
import { sharedUrl, testWithShared } from "../helpers/shared_data.ts";
import {
  llamaCppTokenizer,
  mistralTokenizer,
} from "../tokenizer/shared_vocabularies.ts";
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
  const entries = await tokenizerMetadata(
    memoryFolder(files),
    config,
    vocabSize,
  );
  return Object.fromEntries(entries);
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

const mistral = sharedUrl("data/tokenizers/mistral-v1/tokenizer.model");
const wikitext = sharedUrl("data/text/wikitext2-test.raw");
const text = () => Deno.readTextFileSync(wikitext).slice(0, 60_000);

testWithShared(
  "tokenizer.model gives the ids that it gives without GGUF",
  async () => {
    const files = { "tokenizer.model": Deno.readFileSync(mistral) };
    const metadata = await metadataOf(files, 32000, { pad_token_id: 0 });
    assert.deepEqual(values(metadata), {
      model: "llama",
      pre: "default",
      tokens: 32000,
      scores: 32000,
      token_type: 32000,
      bos_token_id: 1,
      eos_token_id: 2,
      unknown_token_id: 0,
      padding_token_id: 0,
    });
    const tokenizer = tokenizerFromGguf(fileWith(metadata));
    const own = await mistralTokenizer();
    assert.deepEqual(tokenizer.encode(text()), own.encode(text()));
  },
);

testWithShared(
  "tokenizer.json with byte tokens gives the ids of the tokenizer.model that it was made of",
  async () => {
    const model = readSentencePieceModel(Deno.readFileSync(mistral));
    const pieces = model.pieces.slice(259);
    const json = sentencePieceJson(
      pieces,
      mergesOf(pieces, model.scores.slice(259)),
    );
    const tokenizer = await tokenizerOf({ "tokenizer.json": json }, 32000);
    const own = await mistralTokenizer();
    for (
      const each of [text(), " two  spaces", "Füße 竹 🎋\n\ttab", "", "<s>"]
    ) {
      assert.deepEqual(tokenizer.encode(each), own.encode(each));
    }
  },
);

testWithShared(
  "tokenizer.json with bytes as characters gives the ids of llama.cpp's GPT-2",
  async () => {
    const path = "data/tokenizers/llama-cpp/ggml-vocab-gpt-2.gguf";
    const source = await openFile(sharedUrl(path));
    const file = await readGguf(source);
    await source.close();
    const tokens = getStrings(file, "tokenizer.ggml.tokens")!;
    const merges = getStrings(file, "tokenizer.ggml.merges")!;
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
    const theirs = await llamaCppTokenizer("gpt-2");
    const options = { parseSpecial: true };
    for (const each of [text(), "<|endoftext|>Hello", "Füße 竹 🎋 \r\n 123"]) {
      assert.deepEqual(
        tokenizer.encode(each, options),
        theirs.encode(each, options),
      );
    }
  },
);

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

testWithShared(
  "tokens that are added to a tokenizer.model come behind its own; rows without one are filled",
  async () => {
    const metadata = await metadataOf({
      "tokenizer.model": Deno.readFileSync(mistral),
      "added_tokens.json": { "<|im_end|>": 32000, "<tool>": 32001 },
      "tokenizer_config.json": {
        added_tokens_decoder: {
          0: { content: "<unk>", special: true },
          32000: { content: "<|im_end|>", special: true },
          32001: { content: "<tool>", special: false },
        },
      },
    }, 32004);
    const arrayOf = (key: string) =>
      (metadata[`tokenizer.ggml.${key}`].value as MetadataArray).values;
    assert.deepEqual(arrayOf("tokens").slice(32000), [
      "<|im_end|>",
      "<tool>",
      "[PAD32002]",
      "[PAD32003]",
    ]);
    assert.deepEqual(arrayOf("token_type").slice(32000), [3, 4, 5, 5]);
    assert.deepEqual(arrayOf("token_type").slice(0, 4), [2, 3, 3, 6]);
    assert.deepEqual(
      arrayOf("scores").slice(32000),
      [-1000, -1000, -10000, -10000],
    );
  },
);

testWithShared("what does not fit together is refused by name", async () => {
  const model = { "tokenizer.model": Deno.readFileSync(mistral) };
  const wrong: [Record<string, FileContent>, number, RegExp][] = [
    [{}, 10, /neither tokenizer\.model nor tokenizer\.json/],
    [{ "tokenizer.json": "{" }, 10, /tokenizer\.json: it is no JSON/],
    [{ "tokenizer.json": json }, size - 1, /262 tokens, the embedding 261/],
    [{ "tokenizer.model": "{}" }, 10, /SentencePiece model/],
    [
      { ...model, "added_tokens.json": { x: 32001 } },
      40000,
      /added token x has id 32001, where the next one is 32000/,
    ],
    [
      { ...model, "added_tokens.json": { x: 5 } },
      40000,
      /id 5, where the model has <0x02>/,
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
