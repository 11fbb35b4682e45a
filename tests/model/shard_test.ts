import assert from "node:assert/strict";
import { fromBuffer } from "../../src/bytes/memory.ts";
import type { TensorInfo } from "../../src/formats/gguf/read.ts";
import { readRows, type Shard } from "../../src/model/shard.ts";

/** Weights that say which row (or element) they are of. */
function numbered(
  shape: readonly number[],
): { tensor: TensorInfo; bytes: Uint8Array<ArrayBuffer> } {
  const [columns, rows] = shape;
  const values = rows === undefined
    ? Float32Array.from({ length: columns }, (_, i) => i)
    : Float32Array.from(
      { length: columns * rows },
      (_, i) => Math.floor(i / columns),
    );
  const bytes = new Uint8Array(values.buffer);
  const byteLength = bytes.length;
  return {
    bytes,
    tensor: { name: "some", type: "F32", shape, offset: 0, byteLength },
  };
}

const halves = { headSize: 8, ropeSize: 6 };
/** Pairs (0, 3), (1, 4), (2, 5); the last two elements do not rotate. */
const order = [0, 3, 1, 4, 2, 5, 6, 7];

Deno.test("rows of half rotation are read with their pairs side by side, whatever the chunks", async () => {
  const { tensor, bytes } = numbered([4, 32]);
  const shard: Shard = {
    tensor,
    rows: { start: 8, end: 32 },
    columns: { start: 0, end: 4 },
    halves,
  };
  const expected = [8, 16, 24].flatMap((head) => order.map((i) => head + i));
  for (const chunkBytes of [1, 200, 300, 1 << 20]) {
    const rows: number[] = [];
    for await (
      const { first, count, bytes: read } of readRows(
        fromBuffer(bytes, "numbered"),
        shard,
        [],
        chunkBytes,
      )
    ) {
      assert.equal(first, rows.length);
      assert.equal(read.length, 16 * count);
      const values = new Float32Array(read.slice().buffer);
      for (let row = 0; row < count; row++) {
        const own = values.subarray(4 * row, 4 * row + 4);
        assert(own.every((value) => value === own[0]));
        rows.push(own[0]);
      }
    }
    assert.deepEqual(rows, expected);
  }
});

Deno.test("rows that lie in pieces are read as one tensor's, whatever the chunks", async () => {
  // Of two columns each: rows behind one another, the second halves of wider ones, and one that stands for two.
  const { tensor, bytes } = numbered([2, 20]);
  const pieces = [
    { first: 0, end: 4, offset: 8 * 2, stride: 8 },
    { first: 4, end: 7, offset: 8 * 11, stride: 16 },
    { first: 7, end: 9, offset: 8 * 19, stride: 0 },
  ];
  const expected = [2, 3, 4, 5, 11, 13, 15, 19, 19];
  const joint = { ...tensor, shape: [2, 9], pieces };
  const every = Uint32Array.of(0, 3, 4, 6, 8);
  for (const rows of [{ start: 0, end: 9 }, { start: 3, end: 8 }, every]) {
    for (const chunkBytes of [1, 17, 40, 1 << 20]) {
      const read: number[] = [];
      const source = fromBuffer(bytes, "numbered");
      const columns = { start: 0, end: 2 };
      const shard = { tensor: joint, rows, columns };
      for await (const chunk of readRows(source, shard, [], chunkBytes)) {
        assert.equal(chunk.first, read.length);
        const values = new Float32Array(chunk.bytes.slice().buffer);
        assert.equal(values.length, 2 * chunk.count);
        for (let i = 0; i < values.length; i += 2) {
          assert.equal(values[i], values[i + 1]);
          read.push(values[i]);
        }
      }
      const asked = ArrayBuffer.isView(rows)
        ? [...rows]
        : expected.keys().filter((i) => i >= rows.start && i < rows.end);
      assert.deepEqual(read, Array.from(asked, (row) => expected[row]));
    }
  }
});

Deno.test("elements of a bias are read in the order of their rows", async () => {
  const { tensor, bytes } = numbered([16]);
  const shard: Shard = {
    tensor,
    rows: { start: 0, end: 1 },
    columns: { start: 8, end: 16 },
    halves,
  };
  const [rows] = await Array.fromAsync(
    readRows(fromBuffer(bytes, "numbered"), shard),
  );
  const values = [...new Float32Array(rows.bytes.slice().buffer)];
  assert.deepEqual(values.slice(8), order.map((i) => 8 + i));
});
