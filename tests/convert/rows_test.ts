import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBuffer } from "../../src/bytes/memory.ts";
import {
  allRows,
  interleaved,
  retyped,
  type Rows,
  stored,
} from "../../src/convert/rows.ts";
import { transposed } from "../../src/convert/transposed.ts";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { tensorBytes } from "../../src/formats/ggml/types.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { gaussianVector } from "../helpers/seeded_random.ts";

/** A matrix of these weights behind some bytes of a file. */
function matrix(
  type: Rows["type"],
  weights: Float32Array,
  shape: readonly number[],
): Rows {
  const bytes = quantise(type, weights);
  const file = new Uint8Array(bytes.length + 10);
  file.set(bytes, 6);
  return stored(fromBuffer(file), 6, type, shape);
}

async function weightsOf(rows: Rows): Promise<Float32Array> {
  const bytes = await toBuffer(allRows(retyped(rows, "F32")));
  const weights = new Float32Array(bytes.length / 4);
  dequantise("F32", bytes, weights);
  return weights;
}

/** Any cut of the rows gives the same bytes as all at once. */
async function assertCuts(rows: Rows, count: number): Promise<void> {
  const whole = await rows.read(0, count);
  assert.equal(whole.length, tensorBytes(rows.type, rows.shape));
  const stride = whole.length / count;
  const cut = fc.tuple(fc.nat({ max: count }), fc.nat({ max: count }));
  await fc.assert(
    fc.asyncProperty(cut, async ([a, b]) => {
      const [first, end] = a < b ? [a, b] : [b, a];
      assert.deepEqual(
        await rows.read(first, end - first),
        whole.slice(first * stride, end * stride),
      );
    }),
    { seed: 2, numRuns: 40 },
  );
}

Deno.test("rows of queries are interleaved within each head, however they are cut", async () => {
  const columns = 4;
  for (const [heads, headSize] of [[1, 2], [3, 6], [4, 8], [2, 32]]) {
    const height = heads * headSize;
    const weights = Float32Array.from(
      { length: height * columns },
      (_, i) => Math.floor(i / columns),
    );
    const rows = interleaved(matrix("F16", weights, [columns, height]), heads);
    const order = (await weightsOf(rows)).filter((_, i) => i % columns === 0);
    // Within a head: 0, d/2, 1, d/2 + 1, …
    const expected = Array.from({ length: height }, (_, row) => {
      const within = row % headSize;
      return row - within + Math.floor(within / 2) +
        (within % 2) * headSize / 2;
    });
    assert.deepEqual([...order], expected);
    await assertCuts(rows, height);
  }
});

Deno.test("a rotation of pairs half a head apart is that of neighbours after interleaving", async () => {
  const headSize = 8, angle = 0.3;
  const x = gaussianVector(headSize, 3);
  const turn = (a: number, b: number) => [
    a * Math.cos(angle) - b * Math.sin(angle),
    a * Math.sin(angle) + b * Math.cos(angle),
  ];
  const rotated = new Float32Array(headSize);
  for (let i = 0; i < headSize / 2; i++) {
    [rotated[i], rotated[i + headSize / 2]] = turn(x[i], x[i + headSize / 2]);
  }
  const permute = (weights: Float32Array) =>
    weightsOf(interleaved(matrix("F32", weights, [1, headSize]), 1));
  const neighbours = await permute(x);
  for (let i = 0; i < headSize; i += 2) {
    [neighbours[i], neighbours[i + 1]] = turn(neighbours[i], neighbours[i + 1]);
  }
  assert.deepEqual(neighbours, await permute(rotated));
});

Deno.test("a transposed matrix, in one block of columns or many, however it is cut", async () => {
  for (const type of ["F32", "F16", "BF16", "Q8_0"] as const) {
    for (const [columns, height] of [[32, 7], [64, 33], [96, 70]]) {
      const weights = gaussianVector(columns * height, 9);
      const source = matrix(type, weights, [columns, height]);
      const stored = await weightsOf(source);
      const expected = stored.map((_, i) =>
        stored[(i % height) * columns + Math.floor(i / height)]
      );
      for (const limit of [1, 5 * height * 4, 1 << 20]) {
        const rows = transposed(source, limit);
        assert.deepEqual(rows.shape, [height, columns]);
        assert.deepEqual(await weightsOf(rows), expected);
        await assertCuts(rows, columns);
      }
    }
  }
});

Deno.test("a matrix larger than a chunk passes as a whole, and its failures are told", async () => {
  const columns = 1 << 10, height = 3000;
  const weights = gaussianVector(columns * height, 4);
  const source = matrix("F32", weights, [columns, height]);
  for (const ahead of [1, 5]) {
    const bytes = await toBuffer(allRows(source, ahead));
    assert.deepEqual(new Float32Array(bytes.buffer), weights);
  }
  const broken: Rows = {
    ...source,
    read: (first, count) =>
      first === 0
        ? source.read(first, count)
        : Promise.reject(new Error("the disk is gone")),
  };
  await assert.rejects(weightsOf(broken), /the disk is gone/);
});
