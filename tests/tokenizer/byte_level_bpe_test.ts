import assert from "node:assert/strict";
import { openFile } from "../../src/bytes/file.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { dataUrl, testWithData } from "../helpers/shared_data.ts";
import goldens from "./goldens/byte_level_bpe.json" with { type: "json" };
import {
  arrayEntry,
  byteLevelVocabulary,
  fileWith,
  stringEntry,
} from "./small_vocabularies.ts";
import { gpt2Part, llamaCppPath, parseIds } from "./vocabularies.ts";

/** GPT-2's vocabulary with another pre-tokenizer. */
async function gpt2With(pre: string): Promise<Tokenizer> {
  const source = await openFile(dataUrl(llamaCppPath("gpt-2")));
  const file = await readGguf(source);
  await source.close();
  const metadata = new Map(file.metadata);
  metadata.set("tokenizer.ggml.pre", stringEntry(pre));
  return tokenizerFromGguf({ ...file, metadata });
}

/** The part of it that the texts of the goldens can meet. */
function gpt2PartWith(pre: string): Tokenizer {
  const { tokens, merges } = gpt2Part();
  const types = tokens.map((token) => token === "<|endoftext|>" ? 3 : 1);
  return tokenizerFromGguf(fileWith({
    "tokenizer.ggml.model": stringEntry("gpt2"),
    "tokenizer.ggml.pre": stringEntry(pre),
    "tokenizer.ggml.tokens": arrayEntry("string", tokens),
    "tokenizer.ggml.token_type": arrayEntry("int32", types),
    "tokenizer.ggml.merges": arrayEntry("string", merges),
  }));
}

function assertIds(tokenizer: Tokenizer, expected: readonly string[]): void {
  assert.equal(goldens.texts.length, 200);
  goldens.texts.forEach((text, i) => {
    assert.deepEqual(
      tokenizer.encode(text, { addSpecial: false, parseSpecial: true }),
      parseIds(expected[i]),
      JSON.stringify(text),
    );
  });
}

for (const [pre, expected] of Object.entries(goldens.ids)) {
  Deno.test(`pre-tokenizer ${pre} gives Hugging Face's ids`, () => {
    assertIds(gpt2PartWith(pre), expected);
  });
}

testWithData(
  "all of GPT-2's vocabulary gives Hugging Face's ids",
  [llamaCppPath("gpt-2")],
  async () => {
    for (const [pre, expected] of Object.entries(goldens.ids)) {
      assertIds(await gpt2With(pre), expected);
    }
  },
);

Deno.test("merges apply in the order of the list, the leftmost of equals first", () => {
  const tokenizer = byteLevelVocabulary({
    extraTokens: ["ab", "bc", "abc", "aa"],
    merges: ["b c", "a bc", "a b", "a a"],
  });
  const pieces = (text: string) =>
    tokenizer.encode(text).map((id) => tokenizer.pieceText(id));
  assert.deepEqual(pieces("abc"), ["abc"]);
  assert.deepEqual(pieces("abd"), ["ab", "d"]);
  assert.deepEqual(pieces("aaa"), ["aa", "a"]);
});

Deno.test("a word that is a token is taken whole only where merges are ignored", () => {
  const extraTokens = ["hi"];
  const pieces = (pre: string) => {
    const tokenizer = byteLevelVocabulary({ extraTokens, merges: [], pre });
    return tokenizer.encode("hi").map((id) => tokenizer.pieceText(id));
  };
  assert.deepEqual(pieces("llama-bpe"), ["hi"]);
  assert.deepEqual(pieces("gpt-2"), ["h", "i"]);
});

Deno.test("user-defined tokens are found without parseSpecial, the longest first", () => {
  const tokenizer = byteLevelVocabulary({
    userDefined: ["<tool>", "<tool>!"],
    control: ["<end>"],
  });
  const pieces = (text: string, parseSpecial: boolean) =>
    tokenizer.encode(text, { parseSpecial })
      .map((id) => tokenizer.pieceText(id));
  assert.deepEqual(pieces("a<tool>!b", false), ["a", "<tool>!", "b"]);
  assert.deepEqual(pieces("<tool><tool>", false), ["<tool>", "<tool>"]);
  assert.deepEqual(pieces("<end>", false), ["<", "e", "n", "d", ">"]);
  assert.deepEqual(pieces("<end>", true), ["<end>"]);
});

Deno.test("bytes without a token become the unknown token", () => {
  const tokenizer = byteLevelVocabulary({
    withoutBytes: [0x62],
    control: ["<unk>"],
    unknown: "<unk>",
  });
  const ids = tokenizer.encode("abc");
  assert.deepEqual(ids.map((id) => tokenizer.pieceText(id)), [
    "a",
    "<unk>",
    "c",
  ]);
});
