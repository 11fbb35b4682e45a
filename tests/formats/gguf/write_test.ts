import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { UsageError } from "../../../src/errors.ts";
import { type GgmlType, ggmlTypes } from "../../../src/formats/ggml/types.ts";
import {
  type MetadataEntry,
  type MetadataType,
  readGguf,
} from "../../../src/formats/gguf/read.ts";
import {
  type GgufToWrite,
  type TensorToWrite,
  toBuffer,
  writeGguf,
} from "../../../src/formats/gguf/write.ts";
import { plainMetadata } from "../../helpers/plain_metadata.ts";
import { sampleFile, sampleMetadata, sampleTensors } from "./sample.ts";

const unicode = fc.string({ unit: "grapheme", maxLength: 12 });

function integer64(min: bigint, max: bigint): fc.Arbitrary<number | bigint> {
  return fc.bigInt({ min, max }).map((value) =>
    Number.isSafeInteger(Number(value)) ? Number(value) : value
  );
}

function signed(bits: number): fc.Arbitrary<number> {
  return fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 });
}

function unsigned(bits: number): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: 2 ** bits - 1 });
}

const valueOf: Record<
  Exclude<MetadataType, "array">,
  fc.Arbitrary<MetadataEntry["value"]>
> = {
  uint8: unsigned(8),
  int8: signed(8),
  uint16: unsigned(16),
  int16: signed(16),
  uint32: unsigned(32),
  int32: signed(32),
  float32: fc.float(),
  bool: fc.boolean(),
  string: unicode,
  uint64: integer64(0n, 2n ** 64n - 1n),
  int64: integer64(-(2n ** 63n), 2n ** 63n - 1n),
  float64: fc.double(),
};

const scalar: fc.Arbitrary<MetadataEntry> = fc.oneof(
  ...Object.entries(valueOf).map(([type, value]) =>
    value.map((value) => ({ type: type as MetadataType, value }))
  ),
);

const array: fc.Arbitrary<MetadataEntry> = fc.oneof(
  ...Object.entries(valueOf).map(([elementType, value]) =>
    fc.array(value, { maxLength: 6 }).map((values): MetadataEntry => ({
      type: "array",
      value: { elementType: elementType as MetadataType, values },
    }))
  ),
);

const arrayOfArrays: fc.Arbitrary<MetadataEntry> = fc.array(array, {
  maxLength: 3,
}).map((entries) => ({
  type: "array",
  value: {
    elementType: "array",
    values: entries.map((entry) => entry.value),
  },
}));

const metadata = fc.uniqueArray(
  fc.tuple(unicode, fc.oneof(scalar, array, arrayOfArrays)),
  { selector: ([key]) => key, maxLength: 10 },
);

const tensor: fc.Arbitrary<TensorToWrite> = fc.record({
  name: unicode,
  type: fc.constantFrom(...Object.keys(ggmlTypes) as GgmlType[]),
  blocks: fc.integer({ min: 1, max: 3 }),
  outer: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
}).chain(({ name, type, blocks, outer }) => {
  const { blockSize, blockBytes } = ggmlTypes[type];
  const length = outer.reduce((product, size) => product * size, 1) * blocks *
    blockBytes;
  return fc.uint8Array({ minLength: length, maxLength: length }).map((
    data,
  ) => ({ name, type, shape: [blocks * blockSize, ...outer], data }));
});

const file = fc.record({
  magic: fc.constantFrom("GGUF" as const, "PWRI" as const),
  version: fc.constantFrom(2 as const, 3 as const),
  metadata,
  tensors: fc.uniqueArray(tensor, {
    selector: ({ name }) => name,
    maxLength: 4,
  }),
  alignment: fc.constantFrom(1, 8, 32, 256),
});

Deno.test("any file comes back as it was written, and is written again with the same bytes", async () => {
  await fc.assert(
    fc.asyncProperty(file, async (given) => {
      const bytes = await toBuffer(writeGguf(given));
      const read = await readGguf(fromBuffer(bytes));
      assert.equal(read.magic, given.magic);
      assert.equal(read.version, given.version);
      assert.equal(read.alignment, given.alignment);
      const entries = plainMetadata(read.metadata).filter(([key]) =>
        key !== "general.alignment"
      );
      assert.deepEqual(entries, given.metadata);
      const tensors = [...read.tensors.values()].map((
        { name, type, shape, offset, byteLength },
      ) => ({
        name,
        type,
        shape,
        data: bytes.subarray(offset, offset + byteLength),
        isAligned: offset % given.alignment === 0,
      }));
      assert.deepEqual(
        tensors,
        given.tensors.map((tensor) => ({ ...tensor, isAligned: true })),
      );
      assert.deepEqual(
        await toBuffer(writeGguf({ ...read, tensors })),
        bytes,
      );
    }),
    { seed: 5, numRuns: 300 },
  );
});

Deno.test("data may be streamed in pieces of any size", async () => {
  const streamed = sampleTensors.map((tensor) => ({
    ...tensor,
    async *data() {
      const bytes = tensor.data as Uint8Array;
      for (let i = 0; i < bytes.length; i += 7) yield bytes.subarray(i, i + 7);
    },
  }));
  assert.deepEqual(await sampleFile({ tensors: streamed }), await sampleFile());
});

const refused: [name: string, change: Partial<GgufToWrite>, message: RegExp][] =
  [
    [
      "a tensor with too few bytes",
      { tensors: [{ ...sampleTensors[1], data: new Uint8Array(131) }] },
      /attn_norm.weight: its shape 33 takes 132 bytes as F32, its data has 131/,
    ],
    [
      "a tensor with too many bytes",
      { tensors: [{ ...sampleTensors[1], data: new Uint8Array(133) }] },
      /takes 132 bytes as F32, its data has at least 133/,
    ],
    [
      "two tensors of one name",
      { tensors: [sampleTensors[0], sampleTensors[0]] },
      /token_embd.weight: there are two of this name/,
    ],
    [
      "a shape with a 0",
      { tensors: [{ ...sampleTensors[0], shape: [32, 0] }] },
      /shape 32x0 must be 1 to 4 sizes above 0/,
    ],
    [
      "a row that is no whole number of blocks",
      { tensors: [{ ...sampleTensors[2], shape: [65, 3] }] },
      /row of 65 weights as Q4_0: a block holds 32/,
    ],
    [
      "a number that its type cannot hold",
      { metadata: [["k", { type: "uint8", value: 256 }]] },
      /metadata k: 256 is beyond uint8, 0 to 255/,
    ],
    [
      "a fraction as an integer",
      { metadata: [["k", { type: "int32", value: 1.5 }]] },
      /metadata k: a value of type number is no int32/,
    ],
    [
      "a string as a number",
      { metadata: [["k", { type: "float32", value: "1" }]] },
      /metadata k: a value of type string is no float32/,
    ],
    [
      "half a surrogate pair",
      { metadata: [["k", { type: "string", value: "\ud800" }]] },
      /half a surrogate pair/,
    ],
    [
      "an alignment of 24",
      { alignment: 24 },
      /24 bytes: must be a power of two/,
    ],
    [
      "an alignment that metadata contradicts",
      {
        alignment: 64,
        metadata: [["general.alignment", { type: "uint32", value: 128 }]],
      },
      /to 64 bytes: metadata general.alignment says 128/,
    ],
  ];

for (const [name, change, message] of refused) {
  Deno.test(`not written: ${name}`, async () => {
    await assert.rejects(sampleFile(change), (error) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("metadata given as a Map keeps its order", async () => {
  const bytes = await sampleFile({ metadata: new Map(sampleMetadata) });
  assert.deepEqual(bytes, await sampleFile());
});
