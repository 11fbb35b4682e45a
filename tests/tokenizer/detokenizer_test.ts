import assert from "node:assert/strict";
import { UsageError } from "../../src/errors.ts";
import { Detokenizer } from "../../src/tokenizer/detokenizer.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import {
  booleanEntry,
  byteLevelVocabulary,
  fileWith,
  sentencePieceMetadata,
} from "./small_vocabularies.ts";

const pieces = ["\u2581", "\u2581Hi", "\u2581you", "\ufeff"];
const tokenizer = tokenizerFromGguf(fileWith(sentencePieceMetadata(pieces)));
const [SPACE, HI, YOU, MARK] = pieces.map((_, i) => 259 + i);
/** Ids of byte tokens. */
const byte = (value: number) => 3 + value;

Deno.test("a character comes out with its last byte", () => {
  const stream = new Detokenizer(tokenizer);
  // U+1F999 is F0 9F A6 99.
  assert.equal(stream.push(byte(0xf0)), "");
  assert.equal(stream.push(byte(0x9f)), "");
  assert.equal(stream.push(byte(0xa6)), "");
  assert.equal(stream.push(byte(0x99)), "\u{1f999}");
  assert.equal(stream.flush(), "");
});

Deno.test("bytes that are not UTF-8 become U+FFFD", () => {
  const stream = new Detokenizer(tokenizer);
  assert.equal(stream.push(byte(0xff)), "\ufffd");
  assert.equal(stream.push(byte(0xe2)), "");
  assert.equal(stream.push(HI), "\ufffd Hi");
  assert.equal(stream.push(byte(0xe2)), "");
  assert.equal(stream.flush(), "\ufffd");
});

Deno.test("the space prefix goes only at a whole text's beginning", () => {
  assert.equal(tokenizer.decode([1, HI, YOU]), "Hi you");
  assert.equal(tokenizer.decode([SPACE, HI]), " Hi");
  const continuation = new Detokenizer(tokenizer);
  assert.equal(continuation.push(HI) + continuation.push(YOU), " Hi you");
});

Deno.test("a vocabulary without a space prefix keeps its leading space", () => {
  const metadata = sentencePieceMetadata(pieces);
  metadata["tokenizer.ggml.add_space_prefix"] = booleanEntry(false);
  const other = tokenizerFromGguf(fileWith(metadata));
  assert.deepEqual(other.encode("Hi", { addSpecial: false }), [
    byte(0x48),
    byte(0x69),
  ]);
  assert.equal(other.decode(other.encode(" Hi")), " Hi");
  const byteLevel = byteLevelVocabulary({});
  assert.equal(byteLevel.decode(byteLevel.encode(" Hi")), " Hi");
});

Deno.test("special tokens are left out unless asked for", () => {
  assert.equal(tokenizer.decode([1, HI, 2]), "Hi");
  assert.equal(
    tokenizer.decode([1, HI, 2], { skipSpecial: false }),
    "<s>Hi</s>",
  );
});

Deno.test("a byte order mark is text", () => {
  assert.equal(tokenizer.decode([MARK]), "\ufeff");
  assert.equal(
    tokenizer.decode([byte(0xef), byte(0xbb), byte(0xbf)]),
    "\ufeff",
  );
});

Deno.test("ids outside of the vocabulary are refused", () => {
  for (const id of [-1, 263, 0.5, NaN]) {
    assert.throws(() => tokenizer.decode([id]), UsageError);
    assert.throws(() => tokenizer.pieceBytes(id), UsageError);
    assert.throws(() => tokenizer.pieceText(id), UsageError);
    assert.equal(tokenizer.isSpecial(id), false);
    assert.equal(tokenizer.isEndOfGeneration(id), false);
  }
});
