import assert from "node:assert/strict";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import {
  byteLevelMetadata,
  byteLevelVocabulary,
  fileWith,
  numberEntry,
} from "./small_vocabularies.ts";

/** Texts of the tokens that fill in. */
function spelled({ fim, pieceText }: Tokenizer) {
  return fim && Object.fromEntries(
    Object.entries(fim).map(([part, id]) => [part, id && pieceText(id)]),
  );
}

Deno.test("tokens that fill in are found by their texts, those of a repository too", () => {
  const qwen = byteLevelVocabulary({
    control: [
      "<|fim_suffix|>",
      "<|fim_middle|>",
      "<|fim_prefix|>",
      "<|file_sep|>",
      "<|repo_name|>",
    ],
  });
  assert.deepEqual(spelled(qwen), {
    prefix: "<|fim_prefix|>",
    suffix: "<|fim_suffix|>",
    middle: "<|fim_middle|>",
    repository: "<|repo_name|>",
    separator: "<|file_sep|>",
  });
  const parts = ["begin", "hole", "end"].map((part) =>
    `<\uff5cfim\u2581${part}\uff5c>`
  );
  assert.deepEqual(spelled(byteLevelVocabulary({ userDefined: parts })), {
    prefix: parts[0],
    suffix: parts[1],
    middle: parts[2],
    repository: undefined,
    separator: undefined,
  });
});

Deno.test("a vocabulary that lacks one of the three that are needed fills in nothing", () => {
  const control = ["<|fim_prefix|>", "<|fim_suffix|>", "<|file_sep|>"];
  assert.equal(byteLevelVocabulary({ control }).fim, undefined);
  assert.equal(byteLevelVocabulary({}).fim, undefined);
});

Deno.test("tokens that the file names go before those with well-known texts, and end no answer", () => {
  const control = ["<one>", "<two>", "<three>", "<four>", "<PRE>", "<SUF>"];
  const tokens = byteLevelMetadata({ control });
  const count = byteLevelVocabulary({ control }).vocabSize - control.length;
  const named = ["pre", "suf", "mid"].map((part, i) => [
    `tokenizer.ggml.fim_${part}_token_id`,
    numberEntry(count + i),
  ]);
  const tokenizer = tokenizerFromGguf(
    fileWith({ ...tokens, ...Object.fromEntries(named) }),
  );
  const { prefix, suffix, middle } = tokenizer.fim!;
  assert.deepEqual([prefix, suffix, middle], [count, count + 1, count + 2]);
  for (const id of [prefix, suffix, middle]) {
    assert(!tokenizer.isEndOfGeneration(id));
  }
});
