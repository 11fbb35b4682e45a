import assert from "node:assert/strict";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { joined } from "../../src/bytes/joined.ts";
import { FormatError } from "../../src/errors.ts";

Deno.test("two sources joined read as one, but for ranges over their border or their end", async () => {
  const source = joined(
    fromBuffer(Uint8Array.of(1, 2, 3), "first"),
    fromBuffer(Uint8Array.of(4, 5), "second"),
  );
  assert.deepEqual([source.name, source.size], ["first", 5]);
  const read = async (offset: number, length: number) => [
    ...await source.read(offset, length),
  ];
  assert.deepEqual(await read(0, 3), [1, 2, 3]);
  assert.deepEqual(await read(3, 2), [4, 5]);
  assert.deepEqual(await read(4, 1), [5]);
  await assert.rejects(source.read(2, 2), FormatError);
  await assert.rejects(source.read(4, 2), FormatError);
});
