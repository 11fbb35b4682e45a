import assert from "node:assert/strict";
import { parseObject } from "../../src/formats/json.ts";

const parse = (text: string) =>
  parseObject(new TextEncoder().encode(text), "config.json");

Deno.test("numbers that Python writes, and JSON has not, are null; texts stay", () => {
  assert.deepEqual(
    parse(
      String
        .raw`{"a": Infinity, "b": [-Infinity, NaN], "c": "NaN \" Infinity"}`,
    ),
    { a: null, b: [null, null], c: 'NaN " Infinity' },
  );
  assert.throws(() => parse('{"a": infinity}'), {
    name: "FormatError",
    message: /config\.json: it is no JSON/,
  });
});
