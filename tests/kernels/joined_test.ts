import assert from "node:assert/strict";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { joined, joinedRooms, multiplyAll } from "../../src/kernels/joined.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import {
  Activations,
  allocateRows,
  PackedMatrix,
} from "../../src/kernels/matrix.ts";
import { instantiate, WasmMemory } from "../../src/kernels/memory.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

const columns = 96, tokens = 3;
const heights = [37, 8, 8, 21];
const random = seededRandom(7);
const numbers = (length: number) =>
  Float32Array.from({ length }, () => random() - 0.5);
const inputs = numbers(tokens * columns);

/** Matrices of the types, of heights that no number of rows side by side divides. */
async function matricesOf(types: readonly ("Q8_0" | "Q4_1")[]) {
  const memory = new WasmMemory(instantiate((await loadKernels()).module));
  const shards = types.map((type, i) => ({
    tensor: {
      name: `test.${i}`,
      type,
      shape: [columns, heights[i]],
      offset: 0,
      byteLength: 0,
    },
    rows: { start: 0, end: heights[i] },
    columns: { start: 0, end: columns },
  }));
  const rooms = joinedRooms(memory, shards);
  const staging = { pointer: memory.allocate(1 << 16), bytes: 1 << 16 };
  const matrices = shards.map((shard, i) => {
    const matrix = new PackedMatrix(memory, shard, undefined, rooms[i]);
    const values = numbers(heights[i] * columns);
    const bytes = quantise(shard.tensor.type, values);
    matrix.write({ first: 0, count: heights[i], bytes }, staging);
    return matrix;
  });
  const x = new Activations(memory, tokens, columns);
  for (let t = 0; t < tokens; t++) {
    memory.f32(x.pointer + 4 * t * x.stride, columns)
      .set(inputs.subarray(t * columns, (t + 1) * columns));
  }
  x.changed();
  return { memory, matrices, x };
}

for (
  const [types, heightsOfJoined] of [
    [["Q4_1", "Q4_1", "Q4_1", "Q4_1"], [74]],
    [["Q4_1", "Q4_1", "Q8_0", "Q8_0"], [45, 29]],
    [["Q4_1", "Q8_0", "Q4_1"], [37, 8, 8]],
  ] as const
) {
  Deno.test(`joined matrices have each one's products, to the bit: ${types}`, async () => {
    const { memory, matrices, x } = await matricesOf(types);
    const all = joined(matrices);
    assert.deepEqual(all.map(({ rows }) => rows), heightsOfJoined);
    const height = matrices.reduce((sum, { rows }) => sum + rows, 0);
    const out = allocateRows(memory, tokens, height);
    const single = allocateRows(memory, tokens, height);
    for (const n of [1, tokens]) {
      x.changed();
      const bytes = multiplyAll(all, x, n, out);
      let first = 0, bytesOfEach = 0;
      for (const matrix of matrices) {
        const { pointer, stride } = single;
        const to = { pointer: pointer + 4 * first, stride };
        bytesOfEach += matrix.multiply(x, n, to);
        first += matrix.rows;
      }
      assert.equal(bytes, bytesOfEach);
      for (let t = 0; t < n; t++) {
        const row = ({ pointer, stride }: typeof out) =>
          memory.u32(pointer + 4 * t * stride, height);
        assert(row(out).some((bits) => bits !== 0));
        assert.deepEqual(row(out), row(single));
      }
    }
  });
}
