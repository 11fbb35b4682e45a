import assert from "node:assert/strict";
import fc from "fast-check";
import { convert } from "../../src/convert/convert.ts";
import { inlineQuantiser, quantiserOf } from "../../src/convert/quantiser.ts";
import type { Requantisation } from "../../src/convert/requantise.ts";
import { PlaceError, UsageError } from "../../src/errors.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { randomModel } from "../helpers/random_model.ts";
import { gaussianVector } from "../helpers/seeded_random.ts";

const { store } = inlineQuantiser;

/** Weights of f32 to store as another type. */
const asType = (weights: Float32Array, to: GgmlType): Requantisation => ({
  bytes: new Uint8Array(weights.slice().buffer),
  from: "F32",
  to,
  count: weights.length,
});

async function assertTwins(type: "Q4_K" | "Q6_K", weights: Float32Array) {
  assert.deepEqual(
    await store(asType(weights, type)),
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
      await assert.rejects(store(asType(broken, type)), UsageError);
    }
    await assertTwins(type, weights);
  });
}

Deno.test("other types are stored as quantise does, from any type", async () => {
  const weights = gaussianVector(1024, 8, 0.02);
  for (const from of ["F32", "F16", "BF16", "Q8_0"] as const) {
    const bytes = quantise(from, weights), count = weights.length;
    const exact = await store({ bytes, from, to: "F32", count });
    const floats = new Float32Array(exact.buffer);
    for (const to of ["F16", "BF16", "Q8_0", "Q4_0", "Q4_K"] as const) {
      assert.deepEqual(
        await store({ bytes, from, to, count }),
        quantise(to, floats),
        `${from} to ${to}`,
      );
    }
  }
});

Deno.test("workers give the same bytes for each chunk, and go on behind one that cannot be stored", async () => {
  const quantiser = quantiserOf(2);
  try {
    const chunks = Array.from(
      { length: 12 },
      (_, i) => gaussianVector(256 * (1 + i % 5), i),
    );
    chunks[7][3] = NaN;
    for (const to of ["Q4_0", "Q6_K"] as const) {
      const stored = await Promise.allSettled(
        chunks.map((chunk) => quantiser.store(asType(chunk, to))),
      );
      for (const [i, result] of stored.entries()) {
        if (result.status === "rejected") {
          assert.equal(i, 7);
          assert.ok(result.reason instanceof UsageError);
          assert.match(result.reason.message, /weight 3 is NaN/);
        } else assert.deepEqual(result.value, quantise(to, chunks[i]));
      }
    }
  } finally {
    await quantiser.close();
  }
});

Deno.test("a quantiser that is closed stores nothing, whatever was asked before", async () => {
  const quantiser = quantiserOf(1);
  const chunk = asType(gaussianVector(1 << 20, 1), "Q4_K");
  const asked = [chunk, { ...chunk, bytes: chunk.bytes.slice() }].map((each) =>
    quantiser.store(each)
  );
  const failed = Promise.all(
    asked.map((each) => assert.rejects(each, PlaceError)),
  );
  await quantiser.close();
  await failed;
  await assert.rejects(
    quantiser.store(asType(gaussianVector(256, 1), "Q4_K")),
    /the conversion is closed/,
  );
});

Deno.test("a number of threads that makes no sense is refused", () => {
  for (const threads of [-1, 1.5, NaN, 257]) {
    assert.throws(() => quantiserOf(threads), UsageError);
  }
});

Deno.test("threads change nothing in a file, and whoever stops early leaves none behind", async () => {
  const { source } = await randomModel({ hiddenSize: 256, type: "F16" });
  const files = [];
  for (const threads of [0, 1, 3]) {
    const file = await convert(source, { type: "Q4_K_M", threads });
    files.push(await toBuffer(file.chunks()));
    for await (const chunk of file.chunks()) {
      if (chunk.length < file.header.length) break;
    }
    await file.close();
  }
  assert.deepEqual(files[1], files[0]);
  assert.deepEqual(files[2], files[0]);
});
