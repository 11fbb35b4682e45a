import assert from "node:assert/strict";
import { FormatError } from "../../../src/errors.ts";
import {
  getArray,
  getBoolean,
  getNumber,
  getNumbers,
  getString,
  getStrings,
} from "../../../src/formats/gguf/read.ts";
import { sampleMetadata } from "./sample.ts";

const file = { metadata: new Map(sampleMetadata) };
const accessors = {
  getArray,
  getBoolean,
  getNumber,
  getNumbers,
  getString,
  getStrings,
};

Deno.test("values are found by key and type", () => {
  assert.equal(getNumber(file, "bamboo.block_count"), 2);
  assert.equal(getString(file, "general.architecture"), "bamboo");
  assert.equal(getBoolean(file, "sample.bool"), true);
  assert.equal(getArray(file, "sample.nested")!.elementType, "array");
  assert.equal(getStrings(file, "tokenizer.ggml.tokens")![7], "▁piece7");
  assert.equal(getNumbers(file, "tokenizer.ggml.scores")![7], -7);
});

for (const [name, accessor] of Object.entries(accessors)) {
  Deno.test(`${name}: an absent key gives undefined`, () => {
    assert.equal(accessor(file, "absent"), undefined);
  });

  Deno.test(`${name}: a value of another type is refused with its key and type`, () => {
    const [key, type] = name === "getNumber"
      ? ["sample.bool", "bool"]
      : ["sample.uint8", "uint8"];
    assert.throws(
      () => accessor(file, key),
      (error) =>
        error instanceof FormatError && error.message.includes(key) &&
        error.message.includes(type),
    );
  });
}

Deno.test("an integer that a number cannot hold exactly is refused", () => {
  assert.throws(
    () => getNumber(file, "sample.uint64"),
    (error) =>
      error instanceof FormatError &&
      /18446744073709551615 is beyond 9007199254740991/.test(error.message),
  );
});

Deno.test("an array of other elements is refused", () => {
  assert.throws(
    () => getStrings(file, "tokenizer.ggml.scores"),
    /array of strings, the file has an array of float32/,
  );
  assert.throws(
    () => getNumbers(file, "tokenizer.ggml.tokens"),
    /array of numbers, the file has an array of string/,
  );
});
