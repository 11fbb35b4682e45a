import assert from "node:assert/strict";
import { loadKernels } from "../../../src/kernels/kernels.ts";
import { cpuPositionBytes, KvCache } from "../../../src/places/cpu/kv_cache.ts";
import { instantiate, WasmMemory } from "../../../src/kernels/memory.ts";

const kvHeads = [2, 0, 3];
const heads = kvHeads.flatMap((count, layer) =>
  Array.from({ length: count }, (_, head) => [layer, head] as const)
);

async function cacheOf(...counts: number[]) {
  const memory = new WasmMemory(instantiate((await loadKernels()).module));
  const shape = { cacheType: "f16", headSize: 8, kvHeadCount: 3 } as const;
  const cache = new KvCache(memory, shape, kvHeads);
  for (const count of counts) cache.grow(count);
  return { memory, cache };
}

/** Bytes of a head's page: 32 positions of 8 elements, key and value. */
const size = 32 * cpuPositionBytes("f16", 8);

Deno.test("pages of every layer and head lie apart", async () => {
  const { memory, cache } = await cacheOf(1, 2, 3, 40, 41);
  const addresses = Array.from(
    { length: 41 },
    (_, page) => heads.map((head) => cache.address(page, ...head)),
  ).flat().sort((a, b) => a - b);
  addresses.slice(1).forEach((address, i) =>
    assert(address >= addresses[i] + size)
  );
  assert(addresses[addresses.length - 1] + size <= memory.bytes.length);
});

Deno.test("a head's pages follow one another, 16 at most", async () => {
  const { cache } = await cacheOf(36);
  const next = (page: number) =>
    heads.every((head) =>
      cache.address(page + 1, ...head) === cache.address(page, ...head) + size
    );
  const breaks = Array.from({ length: 35 }, (_, page) => page)
    .filter((page) => !next(page));
  assert.deepEqual(breaks, [15, 31]);
});

Deno.test("a short text takes little memory", async () => {
  const { memory, cache } = await cacheOf();
  const start = memory.allocate(0);
  cache.grow(1);
  assert.equal(memory.allocate(0) - start, heads.length * size);
  cache.grow(2);
  assert.equal(memory.allocate(0) - start, 2 * heads.length * size);
  cache.grow(3);
  assert.equal(memory.allocate(0) - start, 4 * heads.length * size);
});

Deno.test("a page is copied in every layer and head, and no other changes", async () => {
  const { memory, cache } = await cacheOf(3, 5);
  const pages = [0, 1, 2, 3, 4];
  const write = (page: number) =>
    heads.forEach((head, i) => {
      const at = cache.address(page, ...head);
      memory.bytes.fill(16 * page + i, at, at + size);
    });
  pages.forEach(write);
  cache.copy(1, 4);
  for (const page of pages) {
    heads.forEach((head, i) => {
      const at = cache.address(page, ...head);
      const from = page === 4 ? 1 : page;
      const bytes = memory.bytes.subarray(at, at + size);
      assert(bytes.every((byte) => byte === 16 * from + i), `page ${page}`);
    });
  }
});
