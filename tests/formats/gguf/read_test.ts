import assert from "node:assert/strict";
import fc from "fast-check";
import type { ByteSource } from "../../../src/bytes/byte_source.ts";
import { openFile } from "../../../src/bytes/file.ts";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { LimitError } from "../../../src/errors.ts";
import {
  getNumber,
  getString,
  getStrings,
  readGguf,
} from "../../../src/formats/gguf/read.ts";
import { toBuffer, writeGguf } from "../../../src/formats/gguf/write.ts";
import { plainMetadata } from "../../helpers/plain_metadata.ts";
import type { MetadataArray } from "../../../src/formats/gguf/gguf_file.ts";
import { concat, preamble, tensor, text, u32, u64 } from "./raw_bytes.ts";
import { sampleFile, sampleMetadata, sampleTensors } from "./sample.ts";
import { powerInferFiles } from "../../helpers/powerinfer_files.ts";

Deno.test("a boolean that is not 0 or 1, and text that is not UTF-8, are read and noted", async () => {
  const bytes = concat(
    preamble({ entries: 3 }),
    text("flag"),
    u32(7),
    Uint8Array.of(255),
    text("general.description"),
    u32(8),
    text(Uint8Array.of(0x63, 0x61, 0x66, 0xe9, 0x20, 0xc3, 0xa9)),
    text("tokens"),
    u32(9),
    u32(8),
    u64(2),
    text(Uint8Array.of(0xe9)),
    text(Uint8Array.of(0xea)),
  );
  const { metadata, notes } = await readGguf(fromBuffer(bytes, "odd.gguf"));
  assert.equal(metadata.get("flag")?.value, true);
  assert.equal(metadata.get("general.description")?.value, "caf\udce9 é");
  // Different bytes are different tokens.
  const { values } = metadata.get("tokens")!.value as MetadataArray;
  assert.deepEqual([...values], ["\udce9", "\udcea"]);
  assert.deepEqual(notes, [
    "metadata flag is a boolean of 255: taken for true",
    "metadata general.description has bytes that are not UTF-8",
    "metadata tokens has bytes that are not UTF-8",
  ]);
});

Deno.test("any bytes are a text that tells them apart, a megabyte as soon as others", async () => {
  const read = async (value: Uint8Array) => {
    const header = [preamble({ entries: 1 }), text("k"), u32(8), text(value)];
    const { metadata } = await readGguf(fromBuffer(concat(...header)));
    return metadata.get("k")!.value as string;
  };
  const bytesOf = (value: string) =>
    value.match(/[\udc80-\udcff]|[^\udc80-\udcff]+/g)?.flatMap((part) =>
      part.length === 1 && part >= "\udc80" && part <= "\udcff"
        ? [part.charCodeAt(0) - 0xdc00]
        : [...new TextEncoder().encode(part)]
    ) ?? [];
  await fc.assert(fc.asyncProperty(
    fc.array(fc.constantFrom(0x41, 0x80, 0xbf, 0xc3, 0xe0, 0xed, 0xf0, 0xff)),
    async (bytes) => {
      const value = await read(Uint8Array.from(bytes));
      // Characters beyond U+FFFF have a half of their own in that range.
      if (!/[\ud800-\udbff]/.test(value)) {
        assert.deepEqual(bytesOf(value), bytes);
      }
    },
  ));
  const odd = Uint8Array.from({ length: 1e6 }, (_, i) => i % 2 ? 0xff : 0xe0);
  assert.equal((await read(odd)).length, 1e6);
});

Deno.test("a header laid out by hand reads as the format says", async () => {
  const bytes = concat(
    preamble({ magic: "PWRI", version: 2, tensors: 2, entries: 2 }),
    text("general.alignment"),
    u32(4),
    u32(64),
    text("k"),
    u32(9),
    u32(8),
    u64(2),
    text("\ufeffa"),
    text("ü"),
    tensor({ name: "a", dimensions: [4, 3], type: 1 }),
    tensor({ name: "b", dimensions: [256], type: 12, offset: 64 }),
  );
  // The header has 178 bytes, so data begins at 192.
  const file = concat(bytes, new Uint8Array(512 - bytes.length));
  assert.deepEqual(await readGguf(fromBuffer(file)), {
    magic: "PWRI",
    version: 2,
    alignment: 64,
    size: 512,
    metadata: new Map<string, unknown>([
      ["general.alignment", { type: "uint32", value: 64 }],
      ["k", {
        type: "array",
        value: { elementType: "string", values: ["\ufeffa", "ü"] },
      }],
    ]),
    tensors: new Map([
      ["a", {
        name: "a",
        type: "F16",
        shape: [4, 3],
        offset: 192,
        byteLength: 24,
      }],
      ["b", {
        name: "b",
        type: "Q4_K",
        shape: [256],
        offset: 256,
        byteLength: 144,
      }],
    ]),
  });
});

Deno.test("what was written is read: metadata, tensors, weights", async () => {
  const bytes = await sampleFile();
  const file = await readGguf(fromBuffer(bytes));
  assert.deepEqual(plainMetadata(file.metadata), sampleMetadata);
  for (const { name, type, shape, data } of sampleTensors) {
    const info = file.tensors.get(name)!;
    assert.equal(info.type, type);
    assert.deepEqual(info.shape, shape);
    assert.deepEqual(
      bytes.subarray(info.offset, info.offset + info.byteLength),
      data,
    );
  }
});

Deno.test("a file without tensors may end with its header", async () => {
  const file = await readGguf(fromBuffer(preamble({})));
  assert.equal(file.tensors.size, 0);
  assert.equal(file.metadata.size, 0);
});

/** Counts what is read of a file that is zeros after its header. */
function countingSource(header: Uint8Array, size: number) {
  const counts = { reads: 0, bytes: 0 };
  const source: ByteSource = {
    name: "counted",
    size,
    read(offset, length) {
      counts.reads++;
      counts.bytes += length;
      const bytes = new Uint8Array(length);
      bytes.set(header.subarray(offset, offset + length));
      return Promise.resolve(bytes);
    },
    close: () => Promise.resolve(),
  };
  return { source, counts };
}

Deno.test("of a file of 6 GB only the first chunk is read", async () => {
  const header = concat(
    preamble({ tensors: 1 }),
    tensor({ dimensions: [2 ** 20, 1500] }),
  );
  const { source, counts } = countingSource(header, 2 ** 20 * 1500 * 4 + 96);
  const file = await readGguf(source);
  assert.equal(file.tensors.get("t")!.byteLength, 2 ** 20 * 1500 * 4);
  assert.ok(counts.bytes <= 2 ** 18, `${counts.bytes} bytes were read`);
});

Deno.test("of a long header no byte is read twice, and at most as much again behind it", async () => {
  const pieces = Array.from({ length: 200_000 }, (_, id) => `piece ${id}`);
  const header = await toBuffer(writeGguf({
    metadata: [["tokenizer.ggml.tokens", {
      type: "array",
      value: { elementType: "string", values: pieces },
    }]],
    tensors: [],
  }));
  const { source, counts } = countingSource(header, 2 ** 33);
  assert.deepEqual(
    getStrings(await readGguf(source), "tokenizer.ggml.tokens"),
    pieces,
  );
  assert.ok(counts.bytes <= 2 * header.length, `${counts.bytes} bytes`);
  assert.ok(counts.reads < 10, `${counts.reads} reads`);
});

Deno.test("a header of more than 64 MiB is refused before it is read", async () => {
  const header = concat(preamble({ entries: 1 }), u64(2 ** 27));
  const { source, counts } = countingSource(header, 2 ** 33);
  await assert.rejects(
    readGguf(source),
    (error) =>
      error instanceof LimitError &&
      /134217760.*67108864/.test(error.message),
  );
  assert.ok(counts.bytes <= 2 ** 18);
});

const written = [
  ["f16", "GGUF", "F16"],
  ["q8_0", "GGUF", "Q8_0"],
  ["f16.powerinfer", "PWRI", "F16"],
  ["q4_0.powerinfer", "PWRI", "Q4_0"],
] as const;

for (const { name: model, sizes, tensors, urlOf } of powerInferFiles) {
  for (const [name, magic, quantised] of written) {
    Deno.test(`${model}'s ${name}.gguf is read, and written again with the same bytes`, async () => {
      const source = await openFile(urlOf(name));
      const file = await readGguf(source);
      assert.equal(file.magic, magic);
      assert.equal(file.version, 3);
      const { hidden, ffn, layers, vocab } = sizes;
      assert.equal(getString(file, "general.architecture"), "bamboo");
      assert.equal(getNumber(file, "bamboo.embedding_length"), hidden);
      assert.equal(getStrings(file, "tokenizer.ggml.tokens")!.length, vocab);
      const { dense, sparse } = tensors;
      assert.equal(file.tensors.size, magic === "GGUF" ? dense : sparse);
      const up = file.tensors.get(`blk.${layers - 1}.ffn_up.weight`)!;
      assert.deepEqual(up.shape, [hidden, ffn]);
      assert.equal(up.type, quantised);
      const original = await source.read(0, source.size);
      const copied = [...file.tensors.values()].map((info) => ({
        ...info,
        async *data() {
          yield await source.read(info.offset, info.byteLength);
        },
      }));
      const again = await toBuffer(writeGguf({ ...file, tensors: copied }));
      await source.close();
      assert.equal(again.length, original.length);
      assert.ok(again.every((byte, i) => byte === original[i]));
    });
  }
}
