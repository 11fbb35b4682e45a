import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { CulmError, FormatError, LimitError } from "../../../src/errors.ts";
import {
  readSafetensors,
  type SafetensorsTensor,
} from "../../../src/formats/safetensors/read.ts";
import { safetensorsFile, withHeader } from "../../helpers/memory_folder.ts";
import { seededRandom } from "../../helpers/seeded_random.ts";

const read = (bytes: Uint8Array) => readSafetensors(fromBuffer(bytes, "file"));

const sample = () =>
  safetensorsFile({
    "a.weight": { dtype: "F32", shape: [2, 3], data: new Uint8Array(24) },
    "b.weight": { dtype: "BF16", shape: [5], data: new Uint8Array(10) },
    "c.ids": { dtype: "I64", shape: [], data: new Uint8Array(8) },
    "d.none": { dtype: "F16", shape: [0, 7], data: new Uint8Array(0) },
  });

Deno.test("every tensor is found where it lies", async () => {
  const bytes = sample();
  const start = bytes.length - 42;
  const tensor = (
    name: string,
    dtype: string,
    shape: number[],
    offset: number,
    byteLength: number,
  ) => ({ name, dtype, shape, offset: start + offset, byteLength });
  assert.deepEqual([...(await read(bytes)).values()], [
    tensor("a.weight", "F32", [2, 3], 0, 24),
    tensor("b.weight", "BF16", [5], 24, 10),
    tensor("c.ids", "I64", [], 34, 8),
    tensor("d.none", "F16", [0, 7], 42, 0),
  ]);
});

Deno.test("any tensors come back as they were written", async () => {
  const widths = { F32: 4, F16: 2, BF16: 2, I64: 8, U8: 1 };
  const dtype = fc.constantFrom(...Object.keys(widths) as "F32"[]);
  const tensor = fc.tuple(
    dtype,
    fc.array(fc.nat({ max: 4 }), { maxLength: 4 }),
  ).map(([dtype, shape]) => ({
    dtype,
    shape,
    data: new Uint8Array(
      shape.reduce((product, side) => product * side, widths[dtype]),
    ),
  }));
  const name = fc.string().filter((text) => text !== "__metadata__");
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, tensor), async (tensors) => {
      const found = await read(safetensorsFile(tensors));
      assert.deepEqual(
        new Map(
          found.values().map((
            { name, dtype, shape },
          ) => [name, { dtype, shape }]),
        ),
        new Map(
          Object.entries(tensors).map(([name, { dtype, shape }]) => [
            name,
            { dtype, shape },
          ]),
        ),
      );
    }),
    { seed: 5, numRuns: 300 },
  );
});

Deno.test("a header that contradicts itself or the file is refused, with both numbers", async (t) => {
  const one = (entry: object, bytes = 8) =>
    withHeader(JSON.stringify({ t: entry }), new Uint8Array(bytes));
  const at = (
    dtype: string,
    shape: unknown,
    data_offsets: unknown,
    bytes?: number,
  ) => one({ dtype, shape, data_offsets }, bytes);
  const huge = new Uint8Array(16).fill(0xff);
  const wrong: [string, Uint8Array, RegExp][] = [
    ["no length", new Uint8Array(7), /8 bytes of length, this one has 7/],
    ["a length beyond the file", huge, /takes 18446744073709551615 bytes/],
    ["no JSON", withHeader("{"), /no JSON/],
    ["no object", withHeader("[]"), /no JSON object/],
    ["an entry that is none", withHeader('{"t":3}'), /its entry is no object/],
    ["an unknown type", at("F7", [2], [0, 8]), /its type is F7/],
    ["a type of Object's", at("toString", [2], [0, 8]), /its type is toStr/],
    ["a negative size", at("F32", [-2], [0, 8]), /its shape/],
    ["a size that is no number", at("F32", ["2"], [0, 8]), /its shape/],
    ["too many sizes", at("F32", Array(65).fill(1), [0, 4], 4), /0 to 64/],
    ["one offset", at("F32", [2], [0]), /two whole numbers/],
    ["offsets backwards", at("F32", [2], [8, 0]), /takes 8 bytes, it has 8..0/],
    [
      "too few bytes",
      at("F32", [3], [0, 8]),
      /shape \[3\] of F32 takes 12 bytes, it has 0\.\.8/,
    ],
    [
      "sizes beyond numbers",
      at("F32", [2 ** 40, 2 ** 40], [0, 8]),
      /takes 4835703278458516698824704 bytes/,
    ],
    ["a gap before it", at("F32", [1], [4, 8]), /begins at byte/],
    ["bytes behind it", at("F32", [1], [0, 4]), /end at byte \d+, the file/],
    ["a file that ends before", at("F32", [4], [0, 16]), /end at byte/],
    [
      "two in one place",
      withHeader(
        JSON.stringify({
          a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
          b: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
        }),
        new Uint8Array(8),
      ),
      /b of file: it begins at byte/,
    ],
  ];
  for (const [name, bytes, message] of wrong) {
    await t.step(name, async () => {
      await assert.rejects(read(bytes), (error) => {
        assert.ok(error instanceof FormatError);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    });
  }
});

Deno.test("a header beyond the limit is refused before it is read", async () => {
  const source = fromBuffer(new Uint8Array(8), "file");
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, 100_000_001n, true);
  await assert.rejects(
    readSafetensors({
      ...source,
      size: 2 ** 40,
      read: (offset, size) => {
        assert.deepEqual([offset, size], [0, 8]);
        return Promise.resolve(length);
      },
    }),
    (error) => error instanceof LimitError && /100000001/.test(error.message),
  );
});

/** Reads a file, or returns undefined where it is refused as it should be. */
async function readOrRefuse(
  bytes: Uint8Array,
): Promise<Map<string, SafetensorsTensor> | undefined> {
  try {
    return await read(bytes);
  } catch (error) {
    if (error instanceof CulmError) return undefined;
    throw error;
  }
}

Deno.test("a file cut anywhere, or with a byte more, is refused", async () => {
  const whole = sample();
  for (let length = 0; length < whole.length; length++) {
    assert.equal(await readOrRefuse(whole.subarray(0, length)), undefined);
  }
  const longer = new Uint8Array(whole.length + 1);
  longer.set(whole);
  assert.equal(await readOrRefuse(longer), undefined);
});

const digits = [..."0123456789"].map((digit) => digit.charCodeAt(0));

function damage(
  bytes: Uint8Array<ArrayBuffer>,
  headerBytes: number,
  random: () => number,
): void {
  const below = (limit: number) => Math.floor(random() * limit);
  const place = below(headerBytes);
  switch (below(4)) {
    case 0:
      bytes[place] = below(256);
      break;
    case 1:
      bytes[place] ^= 1 << below(8);
      break;
    case 2:
      bytes.copyWithin(place, place + 1, headerBytes);
      break;
    default: {
      // Another digit keeps it JSON, so that the checks behind are reached.
      const at = bytes.findIndex((byte, i) =>
        i > place && digits.includes(byte)
      );
      if (at >= 0) bytes[at] = digits[below(10)];
    }
  }
}

Deno.test("of 20,000 files with a damaged header each is read within its bounds or refused", async () => {
  const whole = sample();
  const headerBytes = whole.length - 42;
  const random = seededRandom(13);
  let readable = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = whole.slice();
    damage(bytes, headerBytes, random);
    const tensors = await readOrRefuse(bytes);
    if (!tensors) continue;
    readable++;
    for (const { name, offset, byteLength } of tensors.values()) {
      assert.ok(offset >= 8 && offset + byteLength <= whole.length, name);
    }
  }
  // Damage to names cannot be seen; damage elsewhere must be.
  assert.ok(readable > 1000, `${readable} were read`);
  assert.ok(readable < 12_000, `${readable} were read`);
});
