import assert from "node:assert/strict";
import { gguf } from "@huggingface/gguf";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { ggmlTypes } from "../../../src/formats/ggml/types.ts";
import {
  type MetadataValue,
  readGguf,
} from "../../../src/formats/gguf/read.ts";
import { sampleFile } from "./sample.ts";

/** A value as Hugging Face's reader gives it: arrays are plain. */
function plain(value: MetadataValue): unknown {
  return typeof value === "object" ? Array.from(value.values, plain) : value;
}

Deno.test("Hugging Face's reader finds the same in a file that we wrote", async () => {
  const bytes = await sampleFile();
  const ours = await readGguf(fromBuffer(bytes));
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  await Deno.writeFile(path, bytes);
  const theirs = await gguf(path, { allowLocalFile: true });
  await Deno.remove(path);

  for (const [key, { type, value }] of ours.metadata) {
    const expected = type === "uint64" || type === "int64"
      ? BigInt(value as number)
      : plain(value);
    assert.deepEqual(
      (theirs.metadata as Record<string, unknown>)[key],
      expected,
      key,
    );
  }
  assert.deepEqual(
    theirs.tensorInfos.map(({ name, shape, dtype, offset }) => ({
      name,
      shape: shape.map(Number),
      dtype,
      offset: Number(theirs.tensorDataOffset + offset),
    })),
    [...ours.tensors.values()].map(({ name, shape, type, offset }) => ({
      name,
      shape,
      dtype: ggmlTypes[type].id,
      offset,
    })),
  );
});
