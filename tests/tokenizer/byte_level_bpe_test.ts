import assert from "node:assert/strict";
import { openFile } from "../../src/bytes/file.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { sharedUrl, testWithShared } from "../helpers/shared_data.ts";
import goldens from "./goldens/byte_level_bpe.json" with { type: "json" };
import { byteLevelVocabulary, stringEntry } from "./small_vocabularies.ts";
import { parseIds } from "./shared_vocabularies.ts";

/** GPT-2's vocabulary with another pre-tokenizer. */
async function gpt2With(pre: string): Promise<Tokenizer> {
  const source = await openFile(
    sharedUrl("data/tokenizers/llama-cpp/ggml-vocab-gpt-2.gguf"),
  );
  const file = await readGguf(source);
  await source.close();
  const metadata = new Map(file.metadata);
  metadata.set("tokenizer.ggml.pre", stringEntry(pre));
  return tokenizerFromGguf({ ...file, metadata });
}

for (const [pre, expected] of Object.entries(goldens.ids)) {
  testWithShared(`pre-tokenizer ${pre} gives Hugging Face's ids`, async () => {
    const tokenizer = await gpt2With(pre);
    assert.equal(goldens.texts.length, 200);
    goldens.texts.forEach((text, i) => {
      assert.deepEqual(
        tokenizer.encode(text, { addSpecial: false, parseSpecial: true }),
        parseIds(expected[i]),
        JSON.stringify(text),
      );
    });
  });
}

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
