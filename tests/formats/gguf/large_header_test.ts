/** Headers of 60 MB that declare millions of values. */
import assert from "node:assert/strict";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { LimitError } from "../../../src/errors.ts";
import {
  getArray,
  getNumbers,
  readGguf,
} from "../../../src/formats/gguf/read.ts";
import {
  type Bytes,
  concat,
  preamble,
  tensor,
  text,
  u32,
  u64,
} from "./raw_bytes.ts";

const headerBytes = 60_000_000;

/** A header of one array, which fills it. */
function arrayOf(type: number, elementBytes: number, element: Bytes): Bytes {
  const count = Math.floor(headerBytes / elementBytes);
  const start = concat(
    preamble({ entries: 1 }),
    text("k"),
    u32(9),
    u32(type),
    u64(count),
  );
  return repeated(start, element, count);
}

/** `count` times the same record, each with a name of its own in its bytes 8 to 14. */
function repeated(
  start: Bytes,
  record: Bytes,
  count: number,
  named = false,
): Bytes {
  const bytes = new Uint8Array(start.length + count * record.length);
  bytes.set(start);
  for (let i = 0, at = start.length; i < count; i++, at += record.length) {
    bytes.set(record, at);
    for (let digit = 0, rest = i; named && digit < 6; digit++, rest >>= 4) {
      bytes[at + 8 + digit] = 0x61 + (rest & 15);
    }
  }
  return bytes;
}

function keys(count: number): Bytes {
  const record = concat(text("aaaaaa"), u32(0), Uint8Array.of(1));
  return repeated(preamble({ entries: count }), record, count, true);
}

function tensors(count: number): Bytes {
  const record = tensor({ name: "aaaaaa", dimensions: [1] });
  return repeated(preamble({ tensors: count }), record, count, true);
}

Deno.test("arrays of numbers take the bytes that they have in the file", async () => {
  const types: [number, number, { new (length: number): object }][] = [
    [0, 1, Uint8Array],
    [1, 1, Int8Array],
    [2, 2, Uint16Array],
    [3, 2, Int16Array],
    [4, 4, Uint32Array],
    [5, 4, Int32Array],
    [6, 4, Float32Array],
    [10, 8, Float64Array],
    [11, 8, Float64Array],
    [12, 8, Float64Array],
  ];
  for (const [type, bytes, kind] of types) {
    const element = new Uint8Array(bytes);
    element[0] = 7;
    const file = await readGguf(fromBuffer(arrayOf(type, bytes, element)));
    const { values } = getArray(file, "k")!;
    assert.ok(values instanceof kind, `${type}`);
    assert.equal(values.length, headerBytes / bytes);
    assert.equal(getNumbers(file, "k"), values);
  }
});

const many: Record<string, () => Bytes> = {
  "booleans": () => arrayOf(7, 1, Uint8Array.of(1)),
  "strings": () => arrayOf(8, 9, text("a")),
  "empty strings": () => arrayOf(8, 8, text("")),
  "numbers that are not exact": () => arrayOf(10, 8, u64(2n ** 63n)),
  "arrays in an array": () => arrayOf(9, 12, concat(u32(0), u64(0))),
  "keys": () => keys(3_000_000),
  "tensors": () => tensors(1_500_000),
};
for (const [name, make] of Object.entries(many)) {
  Deno.test(`millions of ${name} are refused`, async () => {
    await assert.rejects(
      readGguf(fromBuffer(make())),
      (error) =>
        error instanceof LimitError &&
        /the header holds more than 4194304 values/.test(error.message),
    );
  });
}

Deno.test("of a header that comes in parts no key or tensor is read twice", async () => {
  const count = 100_000;
  const { decode } = TextDecoder.prototype;
  let decoded = 0;
  TextDecoder.prototype.decode = function (...args) {
    decoded++;
    return decode.apply(this, args);
  };
  try {
    const { metadata } = await readGguf(fromBuffer(keys(count)));
    assert.equal(metadata.size, count);
    assert.ok(decoded < count + 100, `${decoded} keys were read`);
    decoded = 0;
    // All lie at the same place, which is found when all are read.
    await assert.rejects(readGguf(fromBuffer(tensors(count))), /needs bytes/);
    assert.ok(decoded < count + 100, `${decoded} tensors were read`);
  } finally {
    TextDecoder.prototype.decode = decode;
  }
});
