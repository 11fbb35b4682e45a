import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromBlob, fromBuffer } from "../../src/bytes/memory.ts";
import { FormatError, UsageError } from "../../src/errors.ts";

const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);

const sources: [name: string, make: () => ByteSource][] = [
  ["a Uint8Array", () => fromBuffer(bytes, "given")],
  ["an ArrayBuffer", () => fromBuffer(bytes.buffer, "given")],
  [
    "a part of a buffer",
    () => fromBuffer(Uint8Array.of(9, 9, ...bytes).subarray(2), "given"),
  ],
  ["a Blob", () => fromBlob(new Blob([bytes]), "given")],
  ["a File", () => fromBlob(new File([bytes], "given"))],
];

for (const [name, make] of sources) {
  Deno.test(`${name}: any range is read into a buffer of its own`, async () => {
    const source = make();
    assert.equal(source.size, 100);
    assert.equal(source.name, "given");
    assert.deepEqual(await source.read(0, 100), bytes);
    const part = await source.read(40, 20);
    assert.deepEqual(part, bytes.subarray(40, 60));
    assert.equal(part.buffer.byteLength, 20);
    part.fill(0);
    assert.deepEqual(await source.read(40, 20), bytes.subarray(40, 60));
    assert.equal((await source.read(100, 0)).length, 0);
    await source.close();
  });

  Deno.test(`${name}: reading past the end is refused with both numbers`, async () => {
    await assert.rejects(
      make().read(90, 11),
      (error) =>
        error instanceof FormatError &&
        error.message ===
          "Cannot read given: needs bytes 90..101, the file has 100",
    );
  });

  Deno.test(`${name}: what is no byte range is refused`, async () => {
    for (
      const [offset, length] of [[-1, 4], [0.5, 4], [0, -4], [0, NaN], [
        2 ** 60,
        1,
      ]]
    ) {
      await assert.rejects(make().read(offset, length), UsageError);
    }
  });
}

Deno.test("a Blob without a name is called one", () => {
  assert.equal(fromBlob(new Blob([])).name, "blob");
});
