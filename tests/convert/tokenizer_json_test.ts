import assert from "node:assert/strict";
import fc from "fast-check";
import {
  readTokenizerJson,
  scoresOf,
  typesOf,
} from "../../src/convert/tokenizer_json.ts";
import { CulmError, FormatError, UnsupportedError } from "../../src/errors.ts";
import { parseObject } from "../../src/formats/json.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { byteLevelJson, sentencePieceJson } from "./tokenizer_files.ts";

const read = (json: object) =>
  readTokenizerJson(json as Record<string, unknown>, "tokenizer.json");

Deno.test("a byte-level file: tokens, merges in both notations, added tokens, way of cutting", () => {
  const json = byteLevelJson(["a", "b", "ab", "abb"], [["a", "b"], [
    "ab",
    "b",
  ]]);
  const added = [
    { id: 4, content: "<|end|>", special: true },
    { id: 6, content: "<tool>", special: false },
  ];
  for (const merges of [["a b", "ab b"], [["a", "b"], ["ab", "b"]]]) {
    const result = read({
      ...json,
      added_tokens: added,
      model: { ...json.model, merges },
      post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<|end|>" } }, { Sequence: {} }],
      },
    });
    const { tokens } = result;
    assert.deepEqual(
      [...tokens],
      ["a", "b", "ab", "abb", "<|end|>", undefined, "<tool>"],
    );
    assert.deepEqual(result.merges, [["a", "b"], ["ab", "b"]]);
    assert.equal(result.pre, "gpt-2");
    assert.equal(result.first, "<|end|>");
    assert.deepEqual(typesOf(result), [1, 1, 1, 1, 3, 5, 4]);
  }
});

Deno.test("a file with byte tokens: types, scores by rank, the space before the first word", () => {
  const result = read(sentencePieceJson(["a", "b", "ab"], [["a", "b"]]));
  assert.equal(result.pre, undefined);
  assert.equal(result.unk, "<unk>");
  assert.equal(result.addSpacePrefix, true);
  const types = typesOf(result);
  assert.deepEqual(types.slice(0, 4), [2, 3, 3, 6]);
  assert.deepEqual(types.slice(-3), [1, 1, 1]);
  assert.deepEqual(scoresOf(result).slice(-3), [-1, -1, -0]);
});

const gpt2 = { type: "ByteLevel", add_prefix_space: false };
const isolated = (Regex: string) => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false },
    { ...gpt2, use_regex: false },
  ],
});
const llama3 = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}` +
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

Deno.test("ways of cutting texts get llama.cpp's names; others are refused", () => {
  const digits = { type: "Digits", individual_digits: true };
  const smollm = { type: "Sequence", pretokenizers: [digits, gpt2] };
  const named: [object, boolean, string][] = [
    [gpt2, false, "gpt-2"],
    [smollm, false, "smollm"],
    [isolated(llama3("\\p{N}{1,3}")), true, "llama-bpe"],
    [isolated(llama3("\\p{N}{1,3}")), false, "dbrx"],
    [isolated(llama3("\\p{N}")), false, "qwen2"],
  ];
  const preOf = (pre_tokenizer: unknown, ignore_merges: boolean) => {
    const json = byteLevelJson(["a"], []);
    return read({
      ...json,
      pre_tokenizer,
      model: { ...json.model, ignore_merges },
    }).pre;
  };
  for (const [preTokenizer, ignoreMerges, name] of named) {
    assert.equal(preOf(preTokenizer, ignoreMerges), name);
  }
  const others: unknown[] = [
    undefined,
    null,
    { type: "Whitespace" },
    { ...gpt2, add_prefix_space: true },
    { ...gpt2, use_regex: false },
    isolated("\\w+"),
    { type: "Sequence", pretokenizers: [] },
    { type: "Sequence", pretokenizers: 3 },
  ];
  for (const other of others) {
    assert.throws(() => preOf(other, false), UnsupportedError);
  }
});

Deno.test("files that contradict themselves are refused, with the place", () => {
  const good = byteLevelJson(["a", "b"], []);
  const model = (change: object) => ({
    ...good,
    model: { ...good.model, ...change },
  });
  const wrong: [object, RegExp][] = [
    [{}, /it has no model/],
    [model({ type: "Unigram" }), /its model is Unigram, known is BPE/],
    [model({ vocab: [] }), /no vocab/],
    [model({ vocab: { a: -1 } }), /token a has id -1/],
    [model({ vocab: { a: 1.5 } }), /token a has id 1\.5/],
    [model({ vocab: { a: 2 ** 40 } }), /whole numbers below 4194304/],
    [model({ vocab: { a: "0" } }), /token a has id 0/],
    [model({ vocab: { a: 0, b: 0 } }), /id 0 is both a and b/],
    [model({ merges: undefined }), /no merges/],
    [model({ merges: ["a"] }), /merge 0 is not two texts/],
    [model({ merges: ["a b", "a b c"] }), /merge 1 is not two texts/],
    [model({ merges: [["a", ""]] }), /merge 0 is not two texts/],
    [model({ merges: [3] }), /merge 0 is not two texts/],
    [{ ...good, added_tokens: {} }, /added_tokens is no array/],
    [{ ...good, added_tokens: [{ id: 3 }] }, /an added token has no content/],
    [{ ...good, added_tokens: [{ id: 0, content: "x" }] }, /id 0 is both/],
  ];
  for (const [json, message] of wrong) {
    assert.throws(
      () => read(json),
      (error) => error instanceof CulmError && message.test(error.message),
      String(message),
    );
  }
});

/** Reads bytes as a tokenizer, or returns undefined where they are refused as they should be. */
function readOrRefuse(bytes: Uint8Array) {
  try {
    return readTokenizerJson(parseObject(bytes, "file"), "file");
  } catch (error) {
    if (error instanceof CulmError) return undefined;
    throw error;
  }
}

Deno.test("of 20,000 damaged files each is read within its bounds or refused", () => {
  const whole = new TextEncoder().encode(JSON.stringify({
    ...byteLevelJson(["a", "b", "c", "ab", "abc"], [["a", "b"], ["ab", "c"]]),
    added_tokens: [{ id: 5, content: "<|end|>", special: true }],
  }));
  const random = seededRandom(14);
  const below = (limit: number) => Math.floor(random() * limit);
  let readable = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = whole.slice();
    const place = below(bytes.length);
    if (i % 3 === 0) bytes[place] = below(256);
    else if (i % 3 === 1) bytes[place] ^= 1 << below(8);
    else bytes.copyWithin(place, place + 1);
    const result = readOrRefuse(bytes);
    if (!result) continue;
    readable++;
    const types = typesOf(result);
    assert.equal(types.length, result.tokens.length);
    assert.ok(types.every((type) => type >= 1 && type <= 6));
  }
  assert.ok(readable > 1000 && readable < 15_000, `${readable} were read`);
});

Deno.test("any JSON is read or refused with one typed error", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (model, rest) => {
      const good = byteLevelJson(["a"], []);
      for (
        const json of [
          { model },
          { ...good, model: { ...good.model, vocab: model } },
          { ...good, model: { ...good.model, merges: model } },
          { ...good, added_tokens: rest },
          { ...good, pre_tokenizer: rest, post_processor: model },
          {
            ...good,
            model: { ...good.model, byte_fallback: true },
            normalizer: rest,
          },
        ]
      ) {
        readOrRefuse(new TextEncoder().encode(JSON.stringify(json)));
      }
    }),
    { seed: 6, numRuns: 500 },
  );
  assert.throws(() => parseObject(new Uint8Array([255]), "f"), FormatError);
});

Deno.test("JSON of millions of values is refused before it is parsed", () => {
  for (const value of ["[]", "{}", "1", '"a"', '{"a":1}']) {
    const values = new Array(1 << 22).fill(value).join(",");
    const bytes = new TextEncoder().encode(`{"a":[${values}]}`);
    assert.throws(() => parseObject(bytes, "file"), {
      name: "LimitError",
      message: /file: it has \d+ values, the limit is 4194304/,
    });
  }
});
