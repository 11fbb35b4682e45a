import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { tokenizerFromSentencePiece } from "../helpers/sentencepiece.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { bambooFiles } from "../helpers/bamboo_files.ts";
import { dataUrl, testWithData } from "../helpers/shared_data.ts";
import goldens from "./goldens/sentencepiece.json" with { type: "json" };
import {
  mistralPath,
  mistralTokenizer,
  parseIds,
  tinyBambooPieces,
} from "./vocabularies.ts";

const withoutBos = { addSpecial: false };

/** Compares every random text with what SentencePiece made of it. */
function assertRandomTexts(
  tokenizer: Tokenizer,
  expected: readonly string[],
): void {
  assert.equal(goldens.texts.length, 200);
  goldens.texts.forEach((text, i) => {
    assert.deepEqual(
      tokenizer.encode(text, withoutBos),
      parseIds(expected[i]),
      JSON.stringify(text),
    );
  });
}

for (const [name, base64] of Object.entries(goldens.models)) {
  const settings = name as keyof typeof goldens.models;
  Deno.test(`a model with ${name} gives SentencePiece's ids`, () => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    assertRandomTexts(
      tokenizerFromSentencePiece(bytes),
      goldens.ids[settings],
    );
  });
}

Deno.test("tiny-bamboo's model file and GGUF file give SentencePiece's ids", async () => {
  const expected = goldens.ids["tiny-bamboo"];
  assertRandomTexts(tokenizerFromSentencePiece(tinyBambooPieces()), expected);
  assertRandomTexts(tokenizerFromGguf(await readGguf(tinyBamboo())), expected);
});

testWithData(
  "Mistral's model gives SentencePiece's ids on random texts",
  [mistralPath],
  async () => {
    assertRandomTexts(await mistralTokenizer(), goldens.ids["mistral-v1"]);
  },
);

testWithData(
  "Mistral's model gives SentencePiece's ids on all of WikiText-2",
  [mistralPath, "text/wikitext2-test.raw"],
  async () => {
    const tokenizer = await mistralTokenizer();
    const text = await Deno.readTextFile(
      dataUrl("text/wikitext2-test.raw"),
    );
    const lines = text.split("\n").slice(0, -1).map((line) => `${line}\n`);
    const encoded = lines.map((line) => tokenizer.encode(line, withoutBos));
    const { chunks, linesPerChunk, sample } = goldens.wikitext;
    sample.forEach((ids, i) => assert.deepEqual(encoded[i + 1], parseIds(ids)));
    assert.equal(chunks.length, Math.ceil(lines.length / linesPerChunk));
    chunks.forEach(({ count, sha256 }, i) => {
      const start = i * linesPerChunk;
      const ids = encoded.slice(start, start + linesPerChunk).flat();
      assert.equal(ids.length, count, `lines from ${start}`);
      const bytes = new DataView(new ArrayBuffer(4 * ids.length));
      ids.forEach((id, at) => bytes.setUint32(4 * at, id, true));
      const hash = createHash("sha256").update(bytes).digest("hex");
      assert.equal(hash, sha256, `lines from ${start}`);
    });
  },
);

for (const file of bambooFiles) {
  Deno.test(`prompts and continuations of ${file.name} are as in its goldens`, async () => {
    const source = await file.open();
    const tokenizer = tokenizerFromGguf(await readGguf(source));
    await source.close();
    for (const { prompt, prompt_ids, greedy_ids, text } of file.texts()) {
      assert.deepEqual(tokenizer.encode(prompt), prompt_ids);
      // SentencePiece drops the space before a text's first word.
      assert.equal(tokenizer.decode(greedy_ids).trimStart(), text.trimStart());
    }
  });
}

Deno.test("a model file adds BOS and EOS as the caller says", () => {
  const model = tinyBambooPieces();
  const ids = tokenizerFromSentencePiece(model).encode("a", withoutBos);
  assert.deepEqual(tokenizerFromSentencePiece(model).encode("a"), [1, ...ids]);
  assert.deepEqual(
    tokenizerFromSentencePiece(model, { addBos: false, addEos: true })
      .encode("a"),
    [...ids, 2],
  );
});
