/**
 * Measures how the place of a kernel's frame on the stack changes its speed: in
 * one thread, from cache, at each of the 512 places that a page has.
 *
 * Run: `deno run --v8-flags=--max-optimized-bytecode-size=1 bench/stack_frames.ts [variant]`
 *
 * The flag keeps V8 from moving the frames below in mid-run; the variant is
 * what `choose` takes. A product in shifted frames has to have its slow places
 * among the even ones where the plain one has them among the odd ones, or the
 * other way round: src/kernels/stack_frames.ts counts on it.
 *
 * @module
 */

import { median } from "../cli/commands/bench/roofline.ts";
import { compileKernels } from "../src/kernels/kernels.ts";
import { instantiate, WasmMemory } from "../src/kernels/memory.ts";
import { packedKind } from "../src/kernels/packing.ts";

const columns = 4096, rows = 60, pagePlaces = 512, runs = 7;
/** Of the median's speed, what a slow place has less than. */
const slowShare = 0.7;
const kernels = instantiate(await compileKernels("relaxed"));
kernels.choose(Number(Deno.args[0] ?? 3));
const memory = new WasmMemory(kernels);
const rowBytes = kernels.packed_row_bytes(packedKind.q4, columns);
const inputBytes = kernels.activation_row_bytes(columns);
const matrix = memory.allocate(rows * rowBytes);
const input = memory.allocate(4 * inputBytes);
const out = memory.allocate(4 * 4 * rows);
const ids = memory.allocate(4 * rows);
memory.u32(ids, rows).forEach((_, i, ids) => ids[i] = i);

/** ms of `product`, called with `places` words more on the stack. */
function time(product: () => void, places: number): number {
  const words = Array(places).fill(0);
  const start = performance.now();
  Reflect.apply(product, undefined, words);
  return performance.now() - start;
}

/** Speeds at even and at odd places. */
function measure(name: string, tokens: number, product: () => void): void {
  // The first calls run in the baseline compiler.
  for (let i = 0; i < 3000; i++) product();
  const speeds: number[] = [];
  for (let places = 0; places < pagePlaces; places++) {
    const times = Array.from({ length: runs }, () => time(product, places));
    speeds.push(rows * columns * tokens / median(times) / 1e6);
  }
  const texts = ["even", "odd"].map((parity, odd) => {
    const half = speeds.filter((_, place) => place % 2 === odd);
    const middle = median(half);
    const slow = half.filter((speed) => speed < slowShare * middle);
    const rest = slow.length
      ? `${slow.length} at ${median(slow).toFixed(1)}`
      : "none";
    return `${parity} ${middle.toFixed(1)} (slow: ${rest})`;
  });
  console.log(`${name}, tokens ${tokens}: ${texts.join(", ")}`);
}

console.log("billions of multiply-adds a second");
for (const tokens of [1, 4]) {
  for (const name of ["matmul", "matmul_shifted"] as const) {
    measure(name, tokens, () =>
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
      ));
  }
}
for (const name of ["matvec_rows", "matvec_rows_shifted"] as const) {
  measure(name, 1, () =>
    kernels[name](
      packedKind.q4,
      matrix,
      rowBytes,
      ids,
      rows,
      columns,
      input,
      out,
    ));
}
