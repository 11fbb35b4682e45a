/**
 * Measures attention's kernel by itself, in one thread: a token, and a prompt
 * of 32, over a past of Bamboo-7B's heads (4 query heads to a KV head of 128).
 * Each figure is the best of many short runs, which other work on the machine
 * disturbs least.
 *
 * Run: `deno run --allow-read bench/attention.ts [positions] [query heads] [size of keys and values]`
 *
 * @module
 */

import { cacheTypes } from "../src/places/cache_type.ts";
import { cpuPositionBytes } from "../src/places/cpu/kv_cache.ts";
import { compileKernels } from "../src/kernels/kernels.ts";
import { instantiate, WasmMemory } from "../src/kernels/memory.ts";

const headSize = 128, kvHeads = 16, prompt = 32;
const positions = Number(Deno.args[0] ?? 1024);
const queryHeads = Number(Deno.args[1] ?? 4);
const size = Number(Deno.args[2] ?? 1);
const pages = Math.ceil((positions + prompt) / 32);
const kernels = instantiate(await compileKernels("relaxed"));
const memory = new WasmMemory(kernels);
const rows = queryHeads * headSize;
const q = memory.allocate(4 * rows * prompt);
const out = memory.allocate(4 * rows * prompt);
memory.f32(q, rows * prompt).forEach((_, i, q) => q[i] = size * Math.sin(i));

/** ms of the shortest of `runs`. */
function least(runs: number, run: () => void): number {
  let best = Infinity;
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/** Pages full of one key and value: the table of each KV head. */
function fill(typeId: number, pageBytes: number): number[] {
  const tables = Array.from({ length: kvHeads }, () => {
    const first = memory.allocate(pages * pageBytes);
    const table = memory.allocate(4 * pages);
    memory.u32(table, pages).forEach((_, i, table) =>
      table[i] = first + i * pageBytes
    );
    return table;
  });
  for (const table of tables) {
    for (const page of memory.u32(table, pages)) {
      for (let slot = 0; slot < 32; slot++) {
        kernels.kv_store(typeId, q, q, headSize, page, slot);
      }
    }
  }
  return tables;
}

console.log(`${kvHeads} KV heads, ${positions} positions`);
console.log("type   a token, ms   GB/s   prompt, GMAC/s");
for (const [typeId, type] of cacheTypes.entries()) {
  const bytes = cpuPositionBytes(type, headSize);
  const tables = fill(typeId, 32 * bytes);
  const attend = (tokens: number, n: number, heads = tables) => {
    for (const table of heads) {
      const args = [
        tokens,
        queryHeads,
        headSize,
        table,
        n,
        0,
        0.09,
        0,
      ] as const;
      kernels.attention(typeId, q, rows, ...args, 0, out, rows);
    }
  };
  // The first calls run in the baseline compiler.
  for (let i = 0; i < 300; i++) attend(1, 96);
  const token = least(300, () => attend(1, positions));
  const many = least(60, () => attend(prompt, positions, [tables[0]]));
  const macs = 2 * prompt * rows * positions;
  console.log(
    type.padEnd(7) + token.toFixed(2).padStart(11) +
      (kvHeads * positions * bytes / token / 1e6).toFixed(1).padStart(7) +
      (macs / many / 1e6).toFixed(1).padStart(17),
  );
}
