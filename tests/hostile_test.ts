/**
 * Files from strangers, through the whole of `load`: cut short, with bytes of
 * the header changed, or with sizes that no file has. Each is read, or refused
 * with one typed error of one line.
 */
import assert from "node:assert/strict";
import { fromBuffer } from "../src/bytes/memory.ts";
import { CulmError } from "../src/errors.ts";
import { readGguf } from "../src/formats/gguf/read.ts";
import type { MetadataEntry } from "../src/formats/gguf/read.ts";
import { toBuffer, writeGguf } from "../src/formats/gguf/write.ts";
import { load } from "../src/load/load.ts";
import { describeModel } from "../src/model/model.ts";
import { tokenizerFromGguf } from "../src/tokenizer/gguf.ts";
import { randomModel } from "./helpers/random_model.ts";
import { seededRandom } from "./helpers/seeded_random.ts";

/** A small model with a vocabulary of bytes; `headerBytes` come before the weights. */
async function wholeFile() {
  const vocabSize = 259;
  const { source } = await randomModel({
    vocabSize,
    hiddenSize: 32,
    feedForwardSize: 32,
    layerCount: 1,
    headCount: 2,
  });
  const file = await readGguf(source);
  const byteTokens = Array.from(
    { length: 256 },
    (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const array = (
    elementType: "string" | "float32" | "int32",
    values: unknown,
  ) => ({ type: "array", value: { elementType, values } }) as MetadataEntry;
  const ofEach = (special: number, byte: number) =>
    Array.from({ length: vocabSize }, (_, i) => i < 3 ? special : byte);
  const metadata = new Map<string, MetadataEntry>([
    ...file.metadata,
    ["tokenizer.ggml.model", { type: "string", value: "llama" }],
    [
      "tokenizer.ggml.tokens",
      array("string", ["<unk>", "<s>", "</s>", ...byteTokens]),
    ],
    ["tokenizer.ggml.scores", array("float32", ofEach(0, -1))],
    ["tokenizer.ggml.token_type", array("int32", ofEach(3, 6))],
  ]);
  const tensors = [];
  for (
    const { name, type, shape, offset, byteLength } of file.tensors.values()
  ) {
    const data = await source.read(offset, byteLength);
    tensors.push({ name, type, shape, data });
  }
  const bytes = await toBuffer(writeGguf({ metadata, tensors }));
  const first = await readGguf(fromBuffer(bytes));
  const offsets = [...first.tensors.values()].map((tensor) => tensor.offset);
  return { bytes, headerBytes: Math.min(...offsets) };
}

/** Everything up to the weights. */
async function readHeader(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const file = await readGguf(fromBuffer(bytes));
  describeModel(file);
  tokenizerFromGguf(file);
}

/** Loads the model and takes one step. */
async function run(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  await using model = await load(bytes, { threads: 0, contextSize: 32 });
  using sequence = model.engine.createSequence();
  await model.engine.evaluate(sequence, [1, 2]);
}

/** Whether it was read; anything but a typed error of one line is a failure. */
async function readOrRefused(reading: Promise<void>): Promise<boolean> {
  try {
    await reading;
    return true;
  } catch (error) {
    assert(error instanceof CulmError, `not typed: ${(error as Error).stack}`);
    assert.match(error.message, /^[^\n]{10,1000}$/);
    return false;
  }
}

Deno.test("the file that the other tests damage can be run", async () => {
  assert(await readOrRefused(run((await wholeFile()).bytes)));
});

Deno.test("a file cut at any of 300 places is refused", async () => {
  const { bytes } = await wholeFile();
  const random = seededRandom(1);
  for (let i = 0; i < 300; i++) {
    const length = Math.floor(random() * bytes.length);
    assert(!await readOrRefused(run(bytes.slice(0, length))), `at ${length}`);
  }
});

Deno.test("20,000 headers with changed bytes are read or refused", async () => {
  const { bytes, headerBytes } = await wholeFile();
  const random = seededRandom(2);
  let read = 0;
  for (let i = 0; i < 20_000; i++) {
    const damaged = bytes.slice(0);
    for (let n = 1 + Math.floor(random() * 3); n > 0; n--) {
      damaged[Math.floor(random() * headerBytes)] = Math.floor(random() * 256);
    }
    if (!await readOrRefused(readHeader(damaged))) continue;
    read++;
    if (read % 40 === 0) await readOrRefused(run(damaged));
  }
  assert(read > 500 && read < 19_500, `${read} were read`);
});

Deno.test("weights that are not numbers give a typed error or a token, not a hang", async () => {
  const { bytes, headerBytes } = await wholeFile();
  const random = seededRandom(3);
  for (let i = 0; i < 20; i++) {
    const damaged = bytes.slice();
    for (let at = headerBytes; at < damaged.length; at++) {
      damaged[at] = Math.floor(random() * 256);
    }
    await readOrRefused((async () => {
      await using model = await load(damaged, { threads: 0 });
      const options = { maxTokens: 3, temperature: i % 2 };
      for await (const _ of model.generate("abc", options));
    })());
  }
});
