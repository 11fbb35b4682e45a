/**
 * Measures how the place of a kernel's frame on the stack changes its speed: in
 * one thread, from cache, with one token and with four, at each of the 512
 * places that a page has.
 *
 * Run: `deno run --v8-flags=--no-liftoff bench/stack_frames.ts [variant]`
 *
 * The variant is what `choose` takes. A product in shifted frames has to be
 * slow at even places where the plain one is at odd ones, or the other way
 * round: src/places/cpu/stack_frames.ts counts on it.
 *
 * @module
 */

import { instantiate, WasmMemory } from "../src/places/cpu/memory.ts";
import { packedKind } from "../src/places/cpu/packing.ts";
import relaxed from "../wasm/relaxed.js";

const columns = 4096, rows = 60, pagePlaces = 512, runs = 7;
const kernels = instantiate(relaxed);
kernels.choose(Number(Deno.args[0] ?? 3));
const memory = new WasmMemory(kernels);
const rowBytes = kernels.packed_row_bytes(packedKind.q4, columns);
const inputBytes = kernels.activation_row_bytes(columns);
const matrix = memory.allocate(rows * rowBytes);
const input = memory.allocate(4 * inputBytes);
const out = memory.allocate(4 * 4 * rows);

/** ms of `product`, called with `places` words more on the stack. */
function time(product: () => void, places: number): number {
  const words = Array(places).fill(0);
  const start = performance.now();
  Reflect.apply(product, undefined, words);
  return performance.now() - start;
}

const median = (values: number[]) =>
  values.toSorted((a, b) => a - b)[values.length >> 1];

console.log("billions of multiply-adds a second: median (slowest place)");
for (const tokens of [1, 4]) {
  for (const name of ["matmul", "matmul_shifted"] as const) {
    const product = () =>
      kernels[name](
        packedKind.q4,
        matrix,
        rowBytes,
        rows,
        columns,
        input,
        inputBytes,
        tokens,
        out,
        rows,
      );
    const speeds: number[] = [];
    for (let places = 0; places < pagePlaces; places++) {
      const times = Array.from({ length: runs }, () => time(product, places));
      speeds.push(rows * columns * tokens / median(times) / 1e6);
    }
    const text = [0, 1].map((odd) => {
      const half = speeds.filter((_, place) => place % 2 === odd);
      const slowest = Math.min(...half).toFixed(1);
      return `${odd ? "odd" : "even"} ${median(half).toFixed(1)} (${slowest})`;
    });
    console.log(`${tokens} tokens, ${name}: ${text.join(", ")}`);
  }
}
