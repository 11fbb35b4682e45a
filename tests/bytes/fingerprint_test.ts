import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { convert, type ConvertOptions } from "../../src/convert/convert.ts";
import { fingerprintOf } from "../../src/bytes/fingerprint.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { randomModel } from "../helpers/random_model.ts";

const of = (...sources: Uint8Array[]) =>
  fingerprintOf(new Uint8Array(4), sources.map((each) => fromBuffer(each)));

Deno.test("a change of more than 1/256 of a source gives another fingerprint", async () => {
  const size = 3_000_000;
  const bytes = Uint8Array.from({ length: size }, (_, i) => i * i);
  const before = await of(bytes);
  assert.match(before, /^[0-9a-f]{64}$/);
  assert.equal(await of(bytes.slice()), before);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: size - 1 }), async (offset) => {
      const first = Math.min(offset, size - Math.ceil(size / 256));
      const changed = bytes.slice();
      for (let i = first; i < first + size / 256; i++) changed[i] ^= 1;
      assert.notEqual(await of(changed), before);
    }),
    { seed: 8, numRuns: 20 },
  );
});

Deno.test("so does any change of a small source, its size, and the order of sources", async () => {
  const [a, b, zeros] = [[1, 2], [3], [0]].map((each) => Uint8Array.from(each));
  const all = [[a], [b], [a, b], [b, a], [zeros], [zeros, zeros], [], [
    new Uint8Array(2),
  ]];
  const prints = await Promise.all(all.map((sources) => of(...sources)));
  assert.equal(new Set(prints).size, all.length);
});

Deno.test("a conversion's fingerprint is of its source and of what is wanted; its parts are the file", async () => {
  const { source } = await randomModel({ type: "F16" });
  const other = (await randomModel({ type: "F16", seed: 2 })).source;
  const print = async (from: typeof source, options: ConvertOptions) => {
    const file = await convert(from, options);
    const parts = [file.header];
    for (const tensor of file.tensors) {
      const bytes = await toBuffer(tensor.chunks());
      assert.equal(bytes.length, tensor.byteLength, tensor.name);
      parts.push(bytes);
    }
    const whole = await toBuffer(file.chunks());
    assert.deepEqual(
      new Uint8Array(await new Blob(parts).arrayBuffer()),
      whole,
    );
    return await file.fingerprint();
  };
  const prints = [
    await print(source, { type: "Q8_0" }),
    await print(source, { type: "Q4_0" }),
    await print(source, { type: "Q8_0", form: "powerinfer" }),
    await print(other, { type: "Q8_0" }),
  ];
  assert.equal(new Set(prints).size, prints.length);
  assert.equal(await print(source, { type: "Q8_0" }), prints[0]);
});
