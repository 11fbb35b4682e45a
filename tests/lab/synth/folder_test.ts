import assert from "node:assert/strict";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { convert } from "../../../src/convert/convert.ts";
import { UsageError } from "../../../src/errors.ts";
import { getString, readGguf } from "../../../src/formats/gguf/read.ts";
import { toBuffer } from "../../../src/formats/gguf/write.ts";
import { synthShapes } from "../../../src/lab/synth/options.ts";
import { synthesiseFolder } from "../../../src/lab/synth/folder.ts";
import { synthesise } from "../../../src/lab/synth/synthesise.ts";
import { tokenizerFromGguf } from "../../../src/tokenizer/gguf.ts";
import { memoryFolder } from "../../helpers/memory_folder.ts";

const options = {
  shape: { ...synthShapes.tiny, layerCount: 2 },
  type: "BF16",
  activation: "drelu",
  gatePositive: 0.39,
  active: 0.15,
  seed: 1,
} as const;

async function fileOf(chunks: AsyncIterable<Uint8Array>) {
  const source = fromBuffer(await toBuffer(chunks));
  return { source, file: await readGguf(source) };
}

Deno.test("a folder converts to the weights and the vocabulary of the file of the same options", async () => {
  const { files, tensorBytes } = synthesiseFolder(options, 1 << 20);
  const made: Record<string, Uint8Array> = {};
  for (const { name, chunks } of files) {
    made[name] = new Uint8Array(
      await new Blob(await Array.fromAsync(chunks) as BlobPart[]).arrayBuffer(),
    );
  }
  assert.ok(Object.keys(made).length > 5, "several shards");
  const conversion = await convert(memoryFolder(made), { type: "BF16" });
  const ours = await fileOf(conversion.chunks());
  await conversion.close();
  assert.equal(conversion.tensorBytes, tensorBytes);
  const theirs = await fileOf(synthesise({ ...options, form: "llama" }).chunks);
  assert.deepEqual([...ours.file.tensors.keys()], [
    ...theirs.file.tensors.keys(),
  ]);
  assert.equal(getString(ours.file, "general.architecture"), "bamboo");
  for (
    const { name, type, shape, offset, byteLength } of ours.file.tensors
      .values()
  ) {
    const other = theirs.file.tensors.get(name)!;
    assert.deepEqual([type, shape], [other.type, other.shape], name);
    // Rows of queries and keys are in another order.
    if (/attn_[qk]\./.test(name)) continue;
    assert.deepEqual(
      await ours.source.read(offset, byteLength),
      await theirs.source.read(other.offset, byteLength),
      name,
    );
  }
  const text = "the rest of these letters, and 竹";
  assert.deepEqual(
    tokenizerFromGguf(ours.file).encode(text),
    tokenizerFromGguf(theirs.file).encode(text),
  );
});

Deno.test("types that safetensors does not have are refused", () => {
  assert.throws(
    () => synthesiseFolder({ ...options, type: "Q4_0" }),
    (error) =>
      error instanceof UsageError && /F32, F16 and BF16/.test(error.message),
  );
});
