/** Loading: buffers that go round, and loads that end early. */
import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import fc from "fast-check";
import { load } from "../../mod.ts";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromBlob, fromBuffer } from "../../src/bytes/memory.ts";
import { readRows, type Shard } from "../../src/model/shard.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/** Rows `start..end` of a matrix of `columns` 16-bit weights, 24 bytes into the file. */
function sliceOf(columns: number, start: number, end: number): Shard {
  const tensor = {
    name: "matrix",
    type: "F16" as const,
    shape: [columns, end],
    offset: 24,
    byteLength: 2 * columns * end,
  };
  return {
    tensor,
    rows: { start, end },
    columns: { start: 0, end: columns },
  };
}

Deno.test("rows read into buffers that went round are the file's, whatever the chunks", async () => {
  const bytes = Uint8Array.from({ length: 6000 }, (_, i) => (i * 91) >> 2);
  const sources = [fromBuffer(bytes), fromBlob(new Blob([bytes]))];
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          columns: fc.integer({ min: 1, max: 40 }),
          start: fc.nat(20),
          count: fc.integer({ min: 1, max: 50 }),
          chunkBytes: fc.integer({ min: 1, max: 900 }),
        }),
        { maxLength: 4 },
      ),
      fc.constantFrom(...sources),
      fc.integer({ min: 1, max: 4 }),
      async (shards, source, ahead) => {
        const spares: ArrayBuffer[] = [];
        const held: Uint8Array<ArrayBuffer>[] = [];
        const giveBack = () => {
          const { buffer } = held.shift()!;
          new Uint8Array(buffer).fill(0xee);
          spares.push(buffer);
        };
        for (const { columns, start, count, chunkBytes } of shards) {
          const shard = sliceOf(columns, start, start + count);
          const whole = bytes.slice(
            24 + 2 * columns * start,
            24 + 2 * columns * (start + count),
          );
          let row = 0;
          for await (
            const rows of readRows(source, shard, spares, chunkBytes)
          ) {
            assert.equal(rows.first, row);
            row += rows.count;
            assert.deepEqual(
              rows.bytes,
              whole.slice(2 * columns * rows.first, 2 * columns * row),
            );
            held.push(rows.bytes);
            if (held.length === ahead) giveBack();
          }
          assert.equal(row, count);
        }
        while (held.length > 0) giveBack();
        assert(spares.length <= ahead);
      },
    ),
    { numRuns: 300 },
  );
});

/** tiny-bamboo, with `read` in place of the reads from `from` on, which it counts. */
function interrupted(
  from: number,
  read: () => Promise<Uint8Array<ArrayBuffer>>,
): ByteSource & { reads: number } {
  const whole: ByteSource = tinyBamboo();
  return {
    ...whole,
    reads: 0,
    read(...range) {
      return ++this.reads < from ? whole.read(...range) : read();
    },
  };
}

/** Lets everything that is under way go as far as it goes. */
const settle = () => delay(50);

for (const threads of [0, 2]) {
  const where = threads === 0 ? "inline" : `${threads} threads`;

  Deno.test(`${where}: all reads but the first few are into buffers that came back`, async () => {
    const tiny = tinyBamboo();
    const whole = fromBuffer(await tiny.read(0, tiny.size));
    let fresh = 0;
    const source: ByteSource = {
      ...whole,
      read(offset, length, spare) {
        if (!spare) fresh++;
        return whole.read(offset, length, spare);
      },
    };
    await using _model = await load(source, { threads });
    // The header takes a few; a worker has two chunks while a third is read.
    assert(fresh <= 3 + 3 * Math.max(1, threads), `${fresh} fresh buffers`);
  });

  Deno.test(`${where}: a load is aborted while a read hangs`, async () => {
    const { promise, resolve } = Promise.withResolvers<
      Uint8Array<ArrayBuffer>
    >();
    const controller = new AbortController();
    const source = interrupted(20, () => {
      queueMicrotask(() => controller.abort(new Error("enough")));
      return promise;
    });
    const loading = load(source, { threads, signal: controller.signal });
    await assert.rejects(loading, /^Error: enough$/);
    const { reads } = source;
    resolve(new Uint8Array(4 << 20));
    await settle();
    assert.equal(source.reads, reads);
  });

  Deno.test(`${where}: a timer aborts the load of a file in memory`, async () => {
    const signal = AbortSignal.timeout(1);
    const source = fromBuffer(await tinyBamboo().read(0, tinyBamboo().size));
    let last = 0;
    const loading = load(source, {
      threads,
      signal,
      onProgress: ({ loaded, total }) => {
        last = loaded / total;
        const until = performance.now() + 15;
        while (performance.now() < until);
      },
    });
    await assert.rejects(loading, { name: "TimeoutError" });
    assert(last < 0.9, `${last} of it was loaded`);
  });

  Deno.test(`${where}: the error of a source that fails in mid-load is the load's`, async () => {
    const source = interrupted(20, () => Promise.reject(new Error("torn")));
    await assert.rejects(load(source, { threads }), /^Error: torn$/);
    const { reads } = source;
    await settle();
    assert.equal(source.reads, reads);
  });
}

Deno.test("where a worker fails in mid-load, one place in the caller's thread loads the rest", async () => {
  const Whole = globalThis.Worker;
  let chunks = 0;
  globalThis.Worker = class extends Whole {
    override postMessage(message: unknown, transfer?: unknown) {
      const { id, method } = message as { id: number; method: string };
      if (method === "write" && ++chunks === 9) {
        const data = { id, error: { name: "RangeError", message: "broken" } };
        this.onmessage?.(new MessageEvent("message", { data }));
      } else super.postMessage(message, transfer as Transferable[]);
    }
  };
  try {
    await using model = await load(tinyBamboo(), { threads: 2 });
    assert.match(
      model.backend,
      /inline \(CPU worker [01] failed: broken\)$/,
    );
  } finally {
    globalThis.Worker = Whole;
  }
});
