import assert from "node:assert/strict";
import fc from "fast-check";
import { requantise } from "../../src/convert/quantiser.ts";
import { UsageError } from "../../src/errors.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { gaussianVector } from "../helpers/seeded_random.ts";

const bytesOf = (weights: Float32Array) =>
  new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);

async function assertTwins(type: "Q4_K" | "Q6_K", weights: Float32Array) {
  assert.deepEqual(
    await requantise(bytesOf(weights), "F32", type, weights.length),
    quantise(type, weights),
  );
}

for (const type of ["Q4_K", "Q6_K"] as const) {
  Deno.test(`the kernel for ${type} gives the bytes of the function in TypeScript`, async () => {
    for (const scale of [1, 0.02, 1e-5, 1e-9, 300]) {
      await assertTwins(type, gaussianVector(256 * 64, 5, scale));
    }
    const some = fc.constantFrom(0, -0, 1, -1, 0.5, 1e-7, 65504, -7.5);
    const any = fc.float({ min: -1000, max: 1000, noNaN: true });
    const weights = fc.array(fc.oneof(some, any), {
      minLength: 256,
      maxLength: 256,
    });
    await fc.assert(
      fc.asyncProperty(
        weights,
        (block) =>
          assertTwins(
            type,
            Float32Array.from([...block, ...block.map(Math.abs)]),
          ),
      ),
      { seed: 4, numRuns: 300 },
    );
  });

  Deno.test(`weights that ${type} cannot store are refused, and leave nothing behind`, async () => {
    const weights = gaussianVector(1024, 6);
    for (const bad of [NaN, Infinity, -Infinity, 3e38]) {
      const broken = weights.slice();
      broken[700] = bad;
      await assert.rejects(
        requantise(bytesOf(broken), "F32", type, broken.length),
        UsageError,
      );
    }
    await assertTwins(type, weights);
  });
}

Deno.test("other types are stored as quantise does, from any type", async () => {
  const weights = gaussianVector(1024, 8, 0.02);
  for (const from of ["F32", "F16", "BF16", "Q8_0"] as const) {
    const source = quantise(from, weights);
    const exact = await requantise(source, from, "F32", weights.length);
    const floats = new Float32Array(exact.buffer);
    for (const to of ["F16", "BF16", "Q8_0", "Q4_0", "Q4_K"] as const) {
      assert.deepEqual(
        await requantise(source, from, to, weights.length),
        quantise(to, floats),
        `${from} to ${to}`,
      );
    }
  }
});
