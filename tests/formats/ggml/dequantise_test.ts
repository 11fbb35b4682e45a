import assert from "node:assert/strict";
import { UsageError } from "../../../src/errors.ts";
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import { goldensFor, typeNames } from "./goldens.ts";

Deno.test("there is a golden for every type", () => {
  const covered = goldensFor("dequantise").map(([type]) => type);
  assert.deepEqual(covered.sort(), [...typeNames].sort());
});

for (const [type, { bytes, values }] of goldensFor("dequantise")) {
  Deno.test(`dequantise ${type}: bit for bit as gguf-py`, () => {
    const out = new Float32Array(values.length).fill(NaN);
    dequantise(type, bytes, out);
    assert.deepEqual(
      new Uint32Array(out.buffer),
      new Uint32Array(values.buffer),
    );
  });

  Deno.test(`dequantise ${type}: the bytes may begin anywhere in a buffer`, () => {
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 1);
    const out = new Float32Array(values.length);
    dequantise(type, shifted.subarray(1, 1 + bytes.length), out);
    assert.deepEqual(out, values);
  });

  Deno.test(`dequantise ${type}: one byte too few is refused`, () => {
    assert.throws(
      () =>
        dequantise(type, bytes.subarray(1), new Float32Array(values.length)),
      (error) =>
        error instanceof UsageError &&
        error.message.includes(String(bytes.length)) &&
        error.message.includes(String(bytes.length - 1)),
    );
  });
}
