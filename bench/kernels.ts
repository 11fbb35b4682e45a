/**
 * Measures the WASM kernels: what one worker and all of them read of a matrix
 * in DRAM, plainly and while multiplying it with one token, beside the speed of
 * a prompt's products from cache.
 *
 * Run: `deno task bench:kernels [--workers=2] [--gigabytes=1] [--runs=7] [--kinds=Q4,I8] [--variant=0..7] [--largest=0.05,0.0003]`
 *
 * The variant is what `choose` takes: 1 for more rows side by side, 2 for nibbles summed in i32,
 * 4 for those of several tokens. Each kind is measured with weights whose largest of 32 is about
 * as large as each of `largest`: of the smaller one, scales are subnormal halves.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { median } from "../cli/commands/bench/roofline.ts";
import { exitWith } from "./options.ts";
import { compileKernels } from "../src/kernels/kernels.ts";
import { packedRowBytes } from "../src/kernels/packing.ts";
import type { Job, Kind } from "./kernels/worker.ts";

const { values: options } = parseArgs({
  args: Deno.args,
  options: {
    workers: { type: "string", default: "2" },
    gigabytes: { type: "string", default: "1" },
    runs: { type: "string", default: "7" },
    kinds: { type: "string" },
    simd128: { type: "boolean", default: false },
    variant: { type: "string", default: "0" },
    largest: { type: "string", default: "0.05,0.0003" },
  },
});

const module = await compileKernels(options.simd128 ? "simd128" : "relaxed");
const k = 4096;
const bytes = Number(options.gigabytes) * 1e9;
const runs = Number(options.runs);
const nTokens = 128;
const variant = Number(options.variant);

/** What halves of blocks are of the largest of their 32 weights, and weights' deviation. */
const deviation = 0.4;

const of = (
  weights: number,
  bytes: number,
  size: number,
  ...halves: number[]
) => ({ weights, bytes, size, halves });

const allKinds: Kind[] = [
  { name: "Q4", kind: 2, ggmlType: 2, block: of(32, 18, 1 / 8, 0) },
  { name: "Q4M", kind: 3, ggmlType: 3, block: of(32, 20, 1 / 8, 0, 2) },
  { name: "Q4K", kind: 4, ggmlType: 12, block: of(256, 144, 0.02, 0, 2) },
  { name: "IQ4", kind: 5, ggmlType: 20, block: of(32, 18, 1 / 113, 0) },
  { name: "IQ4XS", kind: 5, ggmlType: 23, block: of(256, 136, 2e-4, 0) },
  { name: "FP4", kind: 6, ggmlType: 39, block: of(32, 17, 0) },
  { name: "IQ3", kind: 7, ggmlType: 18, block: of(256, 98, 2e-3, 0) },
  { name: "I8", kind: 11, ggmlType: 8, block: of(32, 34, 1 / 127, 0) },
  { name: "I8M", kind: 12, ggmlType: 7, block: of(32, 24, 1 / 16, 0, 2) },
  { name: "I8H", kind: 13, ggmlType: 14, block: of(256, 210, 2e-4, 208) },
  { name: "I8HM", kind: 14, ggmlType: 10, block: of(256, 84, 0.04, 80, 82) },
  { name: "K4", kind: 15, ggmlType: 12, block: of(256, 144, 0.02, 0, 2) },
  { name: "K5", kind: 16, ggmlType: 13, block: of(256, 176, 0.01, 0, 2) },
  { name: "K6", kind: 17, ggmlType: 14, block: of(256, 210, 2e-4, 208) },
  { name: "I6", kind: 18, ggmlType: 6, block: of(32, 22, 1 / 16, 0) },
  { name: "F16", kind: 1, ggmlType: 1, block: of(1, 2, deviation, 0) },
  { name: "F32", kind: 0, ggmlType: 0, block: of(1, 4, deviation) },
];
const wanted = options.kinds?.split(",") ?? allKinds.map(({ name }) => name);
const kinds = wanted.map((wantedName) =>
  allKinds.find(({ name }) => name === wantedName) ??
    exitWith(new Error(`Cannot measure "${wantedName}": it is no kind`))
);

/** A worker that does one job after the other. */
class Bench {
  readonly #worker = new Worker(new URL("kernels/worker.ts", import.meta.url), {
    type: "module",
  });

  /** Seconds that the job took. */
  run(job: Job): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.onerror = reject;
      this.#worker.postMessage(job);
    });
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** Median GB/s of jobs run in turns, all workers at once; they are added up. */
async function rates(
  workers: Bench[],
  jobs: ("read" | "decode" | "axpy")[],
): Promise<number[]> {
  const seen = jobs.map((): number[] => []);
  for (let i = 0; i < runs; i++) {
    for (const [j, job] of jobs.entries()) {
      const seconds = await Promise.all(workers.map((w) => w.run({ do: job })));
      seen[j].push(seconds.reduce((sum, s) => sum + bytes / 1e9 / s, 0));
    }
  }
  return seen.map(median);
}

/** Median GMAC/s of a prompt's product with a matrix of `megabytes`. */
async function tileRate(
  worker: Bench,
  rowBytes: number,
  megabytes: number,
): Promise<number> {
  const nRows = Math.max(
    8,
    Math.min(1024, Math.floor(megabytes * 2 ** 20 / rowBytes)),
  );
  const times = Math.max(1, Math.round(2e9 / (nRows * k * nTokens)));
  const seen: number[] = [];
  for (let i = 0; i < runs; i++) {
    const seconds = await worker.run({ do: "tile", nRows, nTokens, times });
    seen.push(times * nRows * k * nTokens / 1e9 / seconds);
  }
  return median(seen);
}

const count = Number(options.workers);
console.log(
  `${
    options.simd128 ? "SIMD128" : "relaxed SIMD"
  }, variant ${variant}, K = ${k}, ${options.gigabytes} GB a worker; ` +
    `GB/s of one worker and of ${count}, ratio to the plain read, and GMAC/s at ${nTokens} tokens`,
);
console.log(
  "kind   largest   read   dot  ratio  axpy |  read   dot  ratio  axpy | GMAC/s L2    L3",
);
const text = (x: number, digits = 1, width = 6) =>
  x.toFixed(digits).padStart(width);
const measured = kinds.flatMap((kind) =>
  options.largest.split(",").map(Number).map((largest) => {
    const { block } = kind, size = block.size * largest;
    return { largest, kind: { ...kind, block: { ...block, size } } };
  })
);
for (const { largest, kind } of measured) {
  const workers = Array.from({ length: count }, () => new Bench());
  await Promise.all(
    workers.map((w) => w.run({ do: "load", module, variant, kind, k, bytes })),
  );
  let line = kind.name.padEnd(6) + String(largest).padStart(8) + " ";
  for (const group of new Set([1, count])) {
    const [read, decode, axpy] = await rates(
      workers.slice(0, group),
      ["read", "decode", "axpy"],
    );
    line += text(read) + text(decode) + text(decode / read, 2, 7) + text(axpy) +
      " |";
  }
  const rowBytes = packedRowBytes(kind.kind, k);
  for (const megabytes of [0.5, 4]) {
    line += text(await tileRate(workers[0], rowBytes, megabytes));
  }
  console.log(line);
  for (const worker of workers) worker[Symbol.dispose]();
}
