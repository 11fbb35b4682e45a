import assert from "node:assert/strict";
import { CulmError } from "../../src/errors.ts";
import { openCheckpoint } from "../../src/formats/checkpoint.ts";
import {
  type FileContent,
  memoryFolder,
  safetensorsFile,
} from "../helpers/memory_folder.ts";

/** A file with one tensor of each name. */
const shard = (...names: string[]) =>
  safetensorsFile(
    Object.fromEntries(
      names.map((
        name,
      ) => [name, { dtype: "F32", shape: [1], data: new Uint8Array(4) }]),
    ),
  );
const index = (map: object) => ({ metadata: {}, weight_map: map });
const indexName = "model.safetensors.index.json";
const first = "model-00001-of-00002.safetensors";
const second = "model-00002-of-00002.safetensors";

async function placesOf(files: Record<string, FileContent>) {
  const checkpoint = await openCheckpoint(memoryFolder(files));
  const places = Object.fromEntries(
    checkpoint.tensors.values().map(({ name, source }) => [name, source.name]),
  );
  await checkpoint.close();
  return places;
}

Deno.test("tensors are found in one file, in the files of an index, and in numbered files", async () => {
  const shards = { [first]: shard("a"), [second]: shard("b", "c") };
  const expected = {
    a: `folder/${first}`,
    b: `folder/${second}`,
    c: `folder/${second}`,
  };
  assert.deepEqual(await placesOf({ "model.safetensors": shard("a") }), {
    a: "folder/model.safetensors",
  });
  assert.deepEqual(await placesOf(shards), expected);
  const map = { c: second, a: first, b: second };
  assert.deepEqual(
    await placesOf({ ...shards, [indexName]: index(map) }),
    expected,
  );
});

Deno.test("missing files, tensors and contradictions are told by name", async () => {
  const wrong: [Record<string, FileContent>, RegExp][] = [
    [{}, /Cannot find weights in folder: it has no model\.safetensors/],
    [{ [second]: shard("b") }, new RegExp(`${first} is missing`)],
    [
      { "model-1-of-99999999999999999999.safetensors": shard("b") },
      /is missing/,
    ],
    [{ [first]: shard("a"), [second]: shard("a") }, /has one of this name too/],
    [{ [indexName]: "[" }, /index\.json: it is no JSON/],
    [{ [indexName]: {} }, /it has no weight_map/],
    [{ [indexName]: index({ a: "../secret" }) }, /\.\.\/secret, which folder/],
    [{ [indexName]: index({ a: 3 }) }, /is in 3, which folder/],
    [
      { [first]: shard("a"), [indexName]: index({ a: first, x: first }) },
      /tensor x of folder: .*which has none/,
    ],
  ];
  for (const [files, message] of wrong) {
    await assert.rejects(
      placesOf(files),
      (error) => error instanceof CulmError && message.test(error.message),
      String(message),
    );
  }
});
