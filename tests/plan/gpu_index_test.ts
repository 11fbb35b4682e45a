import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { CulmError, FormatError, UsageError } from "../../src/errors.ts";
import {
  checkGpuIndex,
  type GpuIndex,
  readGpuIndex,
  writeGpuIndex,
} from "../../src/plan/gpu_index.ts";
import {
  concat,
  preamble,
  tensor,
  text,
  u32,
} from "../formats/gguf/raw_bytes.ts";
import { randomModel } from "../helpers/random_model.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

const indices = fc.record({
  capacity: fc.nat({ max: 2 ** 40 }),
  feedForwardSize: fc.integer({ min: 1, max: 70 }),
  layerCount: fc.integer({ min: 1, max: 5 }),
  share: fc.constantFrom(0, 0.1, 0.5, 1),
  seed: fc.nat(),
}).map(({ capacity, feedForwardSize, layerCount, share, seed }): GpuIndex => {
  const random = seededRandom(seed);
  const ids = Array.from({ length: feedForwardSize }, (_, id) => id);
  return {
    capacity,
    feedForwardSize,
    layers: Array.from(
      { length: layerCount },
      () => Uint32Array.from(ids.filter(() => random() < share)),
    ),
  };
});

/**
 * Reads an index in the order in which PowerInfer's loader does: tensors by
 * their number, 2N and 2N + 1 for layer N, nothing by name.
 */
function readAsPowerInfer(bytes: Uint8Array<ArrayBuffer>) {
  const view = new DataView(bytes.buffer);
  let at = 0;
  const number = (width: 4 | 8) => {
    at += width;
    return width === 4
      ? view.getUint32(at - 4, true)
      : Number(view.getBigUint64(at - 8, true));
  };
  const characters = (length: number) => {
    at += length;
    return String.fromCharCode(...bytes.subarray(at - length, at));
  };
  const magic = characters(4), version = number(4);
  const tensorCount = number(8), entryCount = number(8);
  const metadata: Record<string, [number, string | number]> = {};
  for (let i = 0; i < entryCount; i++) {
    const key = characters(number(8)), type = number(4);
    metadata[key] = [
      type,
      type === 8 ? characters(number(8)) : number(type === 4 ? 4 : 8),
    ];
  }
  const infos = Array.from({ length: tensorCount }, () => {
    const name = characters(number(8));
    const sides = Array.from({ length: number(4) }, () => number(8));
    return { name, sides, type: number(4), offset: number(8) };
  });
  const start = at + (32 - at % 32) % 32;
  const tensors = infos.map(({ sides: [length], offset }) =>
    Array.from(
      { length },
      (_, i) => view.getInt32(start + offset + 4 * i, true),
    )
  );
  return { magic, version, metadata, infos, tensors };
}

Deno.test("what is written is laid out as PowerInfer reads it", () => {
  fc.assert(fc.property(indices, (index) => {
    const bytes = writeGpuIndex(index);
    const { magic, version, metadata, infos, tensors } = readAsPowerInfer(
      bytes,
    );
    assert.deepEqual([magic, version], ["PWRI", 3]);
    assert.deepEqual(metadata, {
      "general.architecture": [8, "generic.gpu_index"],
      "generic.gpu_index.block_count": [4, index.layers.length],
      "split.vram_capacity": [10, index.capacity],
    });
    assert.equal(tensors.length, 2 * index.layers.length);
    index.layers.forEach((neurons, i) => {
      const mask = new Array(index.feedForwardSize).fill(0);
      for (const id of neurons) mask[id] = 1;
      assert.equal(infos[2 * i].name, `blk.${i}.gpu_idx`);
      assert.equal(infos[2 * i + 1].name, `blk.${i}.gpu_bucket`);
      assert.deepEqual(tensors[2 * i], mask);
      assert.deepEqual(tensors[2 * i + 1], [...neurons]);
    });
    assert(
      infos.every(({ type, sides, offset }) =>
        type === 18 && sides.length === 1 && offset % 32 === 0
      ),
    );
    assert.equal(bytes.length % 32, 0);
  }));
});

Deno.test("an index comes back from its bytes as it was", async () => {
  await fc.assert(fc.asyncProperty(indices, async (index) => {
    const bytes = writeGpuIndex(index);
    assert.deepEqual(await readGpuIndex(fromBuffer(bytes)), index);
  }));
});

/** An index by hand: two neurons of three on the GPU, with what a test puts wrong. */
function byHand(
  { kind = "generic.gpu_index", blocks = 1, mask = [1, 0, 1], bucket, type }: {
    kind?: string;
    blocks?: number;
    mask?: number[];
    bucket?: number[];
    type?: number;
  },
) {
  const tensors = [{ name: "blk.0.gpu_idx", values: mask }];
  if (bucket) tensors.push({ name: "blk.0.gpu_bucket", values: bucket });
  const header = concat(
    preamble({ magic: "PWRI", tensors: tensors.length, entries: 2 }),
    text("general.architecture"),
    u32(8),
    text(kind),
    text("generic.gpu_index.block_count"),
    u32(4),
    u32(blocks),
    ...tensors.map(({ name, values }, i) =>
      tensor({ name, dimensions: [values.length], type, offset: 32 * i })
    ),
  );
  const padded = (bytes: Uint8Array) =>
    concat(bytes, new Uint8Array((32 - bytes.length % 32) % 32));
  return fromBuffer(
    concat(
      padded(header),
      ...tensors.map(({ values }) => padded(concat(...values.map(u32)))),
    ),
  );
}

Deno.test("an index is read without buckets, without a capacity, and with today's number of I32", async () => {
  for (const type of [18, 26]) {
    const { layers, capacity } = await readGpuIndex(byHand({ type }));
    assert.deepEqual([capacity, [...layers[0]]], [0, [0, 2]]);
  }
});

Deno.test("an index that contradicts itself is refused", async () => {
  const cases: [Parameters<typeof byHand>[0], RegExp][] = [
    [{ type: 18, bucket: [0, 1] }, /2 ids are not the 2 that blk\.0\.gpu_idx/],
    [{ type: 18, bucket: [0] }, /1 ids are not the 2/],
    [{ type: 18, bucket: [0, 0x7fffffff] }, /are not the 2/],
    [{ type: 18, mask: [1, 2, 0] }, /mark is 2, needs 0 or 1/],
    [{ type: 18, blocks: 2 }, /block_count is 2, it has 1 layers/],
    [
      { type: 18, kind: "bamboo" },
      /^Cannot read GPU index of .*: general\.architecture is "bamboo", a GPU index has/,
    ],
    [{ type: 0 }, /has type 0, a GPU index has I32/],
  ];
  for (const [wrong, message] of cases) {
    await assert.rejects(
      readGpuIndex(byHand(wrong)),
      (error: Error) =>
        error instanceof FormatError && message.test(error.message),
      String(message),
    );
  }
});

Deno.test("tensors that lie over one another are refused before memory is taken", async () => {
  const count = 1000, length = 1 << 20;
  const header = concat(
    preamble({ magic: "PWRI", tensors: count, entries: 1 }),
    text("general.architecture"),
    u32(8),
    text("generic.gpu_index"),
  );
  const tensors = Array.from(
    { length: count },
    (_, i) =>
      tensor({ name: `blk.${i}.gpu_idx`, dimensions: [length], type: 18 }),
  );
  const bytes = new Uint8Array(4 * length + (1 << 17));
  let at = 0;
  for (const part of [header, ...tensors]) {
    bytes.set(part, at);
    at += part.length;
  }
  await assert.rejects(
    readGpuIndex(fromBuffer(bytes)),
    /they take 4194304000 bytes from \d+, the file has 4325376/,
  );
});

Deno.test("a damaged index is read or refused with a typed error", async () => {
  const [index] = fc.sample(indices, { numRuns: 1, seed: 5 });
  const bytes = writeGpuIndex(index);
  const random = seededRandom(6);
  const extremes = [0n, 1n, 2n ** 31n, 2n ** 53n, 2n ** 62n, 2n ** 64n - 1n];
  for (let i = 0; i < 4000; i++) {
    const damaged = i % 2 ? bytes.slice(0, random() * bytes.length) : bytes
      .slice();
    const at = Math.floor(random() * (damaged.length - 8));
    if (at > 0) {
      new DataView(damaged.buffer).setBigUint64(
        at,
        i % 4 < 2
          ? extremes[Math.floor(random() * extremes.length)]
          : BigInt(Math.floor(random() * 2 ** 48)),
        true,
      );
    }
    await readGpuIndex(fromBuffer(damaged)).catch((error) =>
      assert(error instanceof CulmError, String(error.stack))
    );
  }
});

Deno.test("an index of another model is refused, and ids out of order", async () => {
  const { model } = await randomModel();
  const layers = [Uint32Array.of(1, 3), new Uint32Array()];
  checkGpuIndex({ capacity: 0, feedForwardSize: 96, layers }, model);
  assert.throws(
    () => checkGpuIndex({ capacity: 0, feedForwardSize: 95, layers }, model),
    /it has 2 layers of 95 neurons, the model 2 of 96/,
  );
  for (const ids of [[3, 1], [1, 1], [96]]) {
    assert.throws(
      () =>
        writeGpuIndex({
          capacity: 0,
          feedForwardSize: 96,
          layers: [Uint32Array.from(ids)],
        }),
      UsageError,
    );
  }
});
