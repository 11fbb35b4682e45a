import assert from "node:assert/strict";
import fc from "fast-check";
import { Detokenizer } from "../../src/tokenizer/detokenizer.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { testWithData } from "../helpers/shared_data.ts";
import { tokenizerFromSentencePiece } from "../helpers/sentencepiece.ts";
import {
  llamaCppPath,
  llamaCppTokenizer,
  mistralPath,
  mistralTokenizer,
  tinyBambooPieces,
} from "./vocabularies.ts";
import {
  byteLevelVocabulary,
  fileWith,
  sentencePieceMetadata,
} from "./small_vocabularies.ts";

/** Text with blanks, words and any characters, lone surrogates among them. */
const anyText = fc.array(fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(" ", "  ", "\n", " the", "Hello", "123", "\u2581", "\ufeff"),
  fc.constantFrom("\ud800", "\udc00", "\ud83d\ude00", "<s>", "<0x0A>"),
)).map((parts) => parts.join(""));

/** What comes back of a text: lone surrogates cannot be written in UTF-8. */
const exact = (text: string) => text.toWellFormed();

/** SentencePiece writes spaces as U+2581, and cannot tell them from it. */
const withSpaces = (text: string) => exact(text).replaceAll("\u2581", " ");

function assertRoundTrips(
  tokenizer: Tokenizer,
  expected: (text: string) => string,
): void {
  fc.assert(fc.property(anyText, (text) => {
    const ids = tokenizer.encode(text);
    assert.equal(tokenizer.decode(ids), expected(text));
  }));
}

/** A stream's pieces together must be what `decode` gives; and no piece ends within a character. */
function assertStreams(tokenizer: Tokenizer): void {
  const anyIds = fc.array(fc.nat(tokenizer.vocabSize - 1));
  const textIds = anyText.map((text) => tokenizer.encode(text));
  fc.assert(fc.property(
    fc.oneof(anyIds, textIds),
    fc.boolean(),
    (ids, skipSpecial) => {
      const stream = new Detokenizer(tokenizer, {
        skipSpecial,
        stripLeadingSpace: true,
      });
      const pieces = [...ids.map((id) => stream.push(id)), stream.flush()];
      assert.equal(pieces.join(""), tokenizer.decode(ids, { skipSpecial }));
      assert.ok(pieces.every((piece) => piece.isWellFormed()));
    },
  ));
}

const smallSentencePiece = () =>
  tokenizerFromGguf(
    fileWith(sentencePieceMetadata(["\u2581", "t", "h", "e", "th", "the"])),
  );
const smallByteLevel = () =>
  byteLevelVocabulary({ extraTokens: ["th", "the"], merges: ["t h", "th e"] });

Deno.test("byte-level BPE gives every text back", () => {
  assertRoundTrips(smallByteLevel(), exact);
});

Deno.test("SentencePiece gives every text back, but for U+2581", () => {
  assertRoundTrips(smallSentencePiece(), withSpaces);
  const tiny = tokenizerFromSentencePiece(tinyBambooPieces());
  assertRoundTrips(tiny, withSpaces);
});

Deno.test("a stream's pieces together are the decoded text", () => {
  assertStreams(smallByteLevel());
  assertStreams(smallSentencePiece());
  assertStreams(tokenizerFromSentencePiece(tinyBambooPieces()));
});

testWithData(
  "public vocabularies give every text back, in streams too",
  [llamaCppPath("gpt-2"), llamaCppPath("llama-spm"), mistralPath],
  async () => {
    const gpt2 = await llamaCppTokenizer("gpt-2");
    const llama = await llamaCppTokenizer("llama-spm");
    assertRoundTrips(gpt2, exact);
    assertRoundTrips(llama, withSpaces);
    assertRoundTrips(await mistralTokenizer(), withSpaces);
    assertStreams(gpt2);
    assertStreams(llama);
  },
);
