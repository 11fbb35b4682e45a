import assert from "node:assert/strict";
import { UsageError } from "../../../src/errors.ts";
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import { putScale } from "../../../src/formats/ggml/random_blocks.ts";
import { ggmlTypes } from "../../../src/formats/ggml/types.ts";
import { digests, generatedBytes, goldensFor, typeNames } from "./goldens.ts";

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

for (const [type, digest] of digests) {
  Deno.test(`dequantise ${type}: 512 blocks have the weights that gguf-py, or ggml, reads`, async () => {
    const { blockSize, blockBytes } = ggmlTypes[type];
    const bytes = generatedBytes(512 * blockBytes);
    for (let at = 0; at < bytes.length; at += blockBytes) {
      // Scales that are no halves are random: see digest() of ggml_types.py.
      if (type === "IQ1_M") bytes[at + 55] &= 0xbf;
      else if (type !== "MXFP4" && type !== "NVFP4") {
        putScale[type](bytes, at, 2 ** -4);
      }
    }
    const out = new Float32Array(512 * blockSize);
    dequantise(type, bytes, out);
    const hash = await crypto.subtle.digest("SHA-256", out);
    assert.equal(new Uint8Array(hash).toHex(), digest);
  });
}
