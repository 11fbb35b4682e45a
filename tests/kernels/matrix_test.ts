import assert from "node:assert/strict";
import { loadKernels } from "../../src/kernels/kernels.ts";
import {
  Activations,
  allocateRows,
  PackedMatrix,
} from "../../src/kernels/matrix.ts";
import { instantiate, WasmMemory } from "../../src/kernels/memory.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

// Enough for stack frames to be tried; no multiple of a trial's share, nor of the rows side by side.
const rows = 2203, columns = 2048, first = 3, count = rows - first;

/** A matrix and an input of small integers, whose products are exact. */
async function problem() {
  const random = seededRandom(5);
  const integer = () => Math.floor(random() * 7) - 3;
  const weights = Float32Array.from({ length: rows * columns }, integer);
  const input = Float32Array.from({ length: columns }, integer);
  const memory = new WasmMemory(instantiate((await loadKernels()).module));
  const matrix = new PackedMatrix(memory, {
    tensor: {
      name: "test.weight",
      type: "F32",
      shape: [columns, rows],
      offset: 0,
      byteLength: weights.byteLength,
    },
    rows: { start: 0, end: rows },
    columns: { start: 0, end: columns },
  });
  const staging = { pointer: memory.allocate(1 << 20), bytes: 1 << 20 };
  const bytes = new Uint8Array(weights.buffer);
  matrix.write({ first: 0, count: rows, bytes }, staging);
  const x = new Activations(memory, 1, columns);
  memory.f32(x.pointer, columns).set(input);
  x.changed();
  const out = allocateRows(memory, 1, count);
  const products = Float32Array.from({ length: count }, (_, i) => {
    const row = weights.subarray((first + i) * columns);
    return input.reduce((sum, value, j) => sum + value * row[j], 0);
  });
  return { matrix, x, out, products, memory };
}

Deno.test("every row of a large product is computed, whichever frames are tried", async () => {
  const { matrix, x, out, products, memory } = await problem();
  const results = memory.f32(out.pointer, count);
  for (let token = 0; token < 18; token++) {
    results.fill(NaN);
    matrix.multiplyRange(x, 1, first, count, out);
    assert.deepEqual(results, products);
  }
});

Deno.test("so is every picked row, and no other", async () => {
  const { matrix, x, out, products, memory } = await problem();
  const ids = Uint32Array.from({ length: count }, (_, i) => i)
    .filter((id) => id % 40 !== 7);
  const pointer = memory.allocate(4 * count);
  new Uint32Array(memory.bytes.buffer, pointer, ids.length).set(ids);
  const results = memory.f32(out.pointer, count);
  for (let token = 0; token < 18; token++) {
    results.fill(0.5);
    matrix.multiplyRows(x, first, pointer, ids.length, out.pointer);
    for (const [id, result] of results.entries()) {
      assert.equal(result, id % 40 === 7 ? 0.5 : products[id]);
    }
  }
});
