import assert from "node:assert/strict";
import { loadKernels } from "../../../src/kernels/kernels.ts";
import type { PackedMatrix } from "../../../src/kernels/matrix.ts";
import { instantiate, WasmMemory } from "../../../src/kernels/memory.ts";
import { chooseKernels } from "../../../src/places/cpu/rates.ts";
import type { LayerWeights } from "../../../src/places/cpu/weights.ts";

/** A CPU whose cache holds so many bytes, and on which twelve rows at once are faster from far, three from the cache. */
class SlowMemory {
  readonly memory: WasmMemory;
  readonly read: PackedMatrix[] = [];
  ms = 0;
  #bits = 0;

  constructor(module: WebAssembly.Module, readonly cacheBytes: number) {
    const kernels = instantiate(module);
    const choose = (bits: number) => {
      const before = this.#bits;
      this.#bits = bits;
      return before;
    };
    this.memory = new WasmMemory({ ...kernels, choose });
  }

  matrix(rows: number, columns: number): PackedMatrix {
    const rowBytes = columns;
    const matrix = {
      rows,
      columns,
      rowBytes,
      stride: rowBytes,
      multiply: () => this.#read(matrix, rows),
      multiplyRange: (_x: unknown, _n: number, _from: number, count: number) =>
        this.#read(matrix, count),
      multiplyRows: (_x: unknown, _from: number, _ids: number, count: number) =>
        this.#read(matrix, count),
      multiplyWhere: () => this.#read(matrix, 64) && 64,
    } as unknown as PackedMatrix;
    return matrix;
  }

  #read(matrix: PackedMatrix, rows: number): number {
    const bytes = rows * matrix.rowBytes;
    const isWide = this.#bits % 2 === 1;
    const gbs = this.#isCached(matrix) ? (isWide ? 20 : 30) : isWide ? 15 : 10;
    this.ms += bytes / (gbs * 1e6);
    this.read.push(matrix);
    return bytes;
  }

  /** Whether fewer bytes than the cache holds were read since the same rows. */
  #isCached(matrix: PackedMatrix): boolean {
    let bytes = 0;
    for (let i = this.read.length - 1; i >= 0; i--) {
      bytes += this.read[i].rows * this.read[i].rowBytes;
      if (bytes > this.cacheBytes) return false;
      if (this.read[i] === matrix) return true;
    }
    return false;
  }
}

async function chosen(layers: number, cacheBytes: number) {
  const { module } = await loadKernels();
  const cpu = new SlowMemory(module, cacheBytes);
  const now = performance.now;
  performance.now = () => cpu.ms += 1e-4;
  try {
    const attention = () => cpu.matrix(256, 256);
    const subject = {
      memory: cpu.memory,
      layers: Array.from({ length: layers }, () => ({
        attn_q: attention(),
        attn_k: attention(),
        attn_v: attention(),
        attn_output: attention(),
        ffn_gate: cpu.matrix(1024, 256),
        ffn_up: cpu.matrix(1024, 256),
        ffn_down: cpu.matrix(256, 1024),
      } as unknown as LayerWeights)),
      output: cpu.matrix(4096, 256),
      tokens: 8,
      isDense: false,
    };
    return { rates: chooseKernels(subject), subject, read: new Set(cpu.read) };
  } finally {
    performance.now = now;
  }
}

Deno.test("kernels are chosen for rows from far where the model is larger than the cache", async () => {
  const { rates, subject, read } = await chosen(30, 4 << 20);
  assert.equal(rates.rowsAtOnce, 12);
  assert(Math.abs(rates.stream / 15e6 - 1) < 0.05, `${rates.stream}`);
  for (const layer of subject.layers) {
    for (const matrix of Object.values(layer)) assert(read.has(matrix));
  }
  assert(read.has(subject.output));
});

Deno.test("kernels are chosen for cached rows where the cache holds the model", async () => {
  const { rates } = await chosen(4, 32 << 20);
  assert.equal(rates.rowsAtOnce, 4);
  assert(Math.abs(rates.stream / 30e6 - 1) < 0.05, `${rates.stream}`);
});
