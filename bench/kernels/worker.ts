/**
 * One worker of the kernel benchmark: holds a matrix and times kernels on it
 * when told to.
 */

import { ggmlTypes } from "../../src/formats/ggml/types.ts";
import { floatToHalf } from "../../src/formats/ggml/half.ts";
import type { Kernels } from "../../wasm/kernels.d.ts";

/** A packed kind and a ggml type that it holds exactly. */
export interface Kind {
  name: string;
  kind: number;
  ggmlType: number;
  /**
   * Weights and bytes of a ggml block, how large its f16 numbers are and where
   * they lie. Blocks of one weight are normally distributed, of deviation `size`.
   */
  block: { weights: number; bytes: number; size: number; halves: number[] };
}

/** What to time; the answer is the seconds that it took. */
export type Job =
  | {
    do: "load";
    module: WebAssembly.Module;
    variant: number;
    kind: Kind;
    k: number;
    bytes: number;
  }
  | { do: "read" | "decode" | "axpy" }
  | { do: "tile"; nRows: number; nTokens: number; times: number };

/** Tokens that a tile may take. */
const maxTokens = 128;

interface Loaded {
  kernels: Kernels;
  kind: number;
  k: number;
  rowBytes: number;
  nRows: number;
  matrix: number;
  activations: number;
  activationBytes: number;
  /** A coefficient for each row. */
  h: number;
  out: number;
}

let loaded: Loaded;

/** A normally distributed number of deviation 1, by Box and Muller. */
const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) *
  Math.cos(2 * Math.PI * Math.random());

/** Packs some random rows and repeats them until the matrix is full. */
function load(
  { module, variant, kind, k, bytes }: Job & { do: "load" },
): Loaded {
  const kernels = new WebAssembly.Instance(module, {})
    .exports as unknown as Kernels;
  kernels.choose(variant);
  const rowBytes = kernels.packed_row_bytes(kind.kind, k);
  const nRows = Math.floor(bytes / rowBytes);
  const isFloat = kind.kind < 2;
  const activationBytes = isFloat ? 4 * k : kernels.activation_row_bytes(k);
  let top = kernels.heap_base();
  const allocate = (size: number) => {
    const at = Math.ceil(top / 64) * 64;
    top = at + size;
    const missing = top - kernels.memory.buffer.byteLength;
    if (missing > 0) kernels.memory.grow(Math.ceil(missing / 65536));
    return at;
  };
  const sample = Math.min(64, nRows);
  const { weights, bytes: blockBytes, size, halves } = kind.block;
  const sourceBytes = (k / weights) * blockBytes;
  const source = allocate(sourceBytes * sample);
  const matrix = allocate(nRows * rowBytes);
  const x = allocate(4 * k);
  const activations = allocate(maxTokens * activationBytes);
  const h = allocate(4 * nRows);
  const out = allocate(4 * Math.max(nRows, k, maxTokens * 1024));

  const { buffer } = kernels.memory;
  const rows = new Uint8Array(buffer, source, sourceBytes * sample);
  for (let i = 0; i < rows.length; i++) rows[i] = 256 * Math.random();
  const view = new DataView(buffer, source, rows.length);
  for (let at = 0; at < rows.length; at += blockBytes) {
    // Weights are mostly near 0, scales never.
    const value = size * (weights === 1 ? normal() : 0.5 + Math.random());
    for (const field of halves) {
      view.setUint16(at + field, floatToHalf(value), true);
    }
    if (kind.ggmlType === 0) view.setFloat32(at, value, true);
    if (kind.ggmlType === ggmlTypes.MXFP4.id) rows[at] = 120;
  }
  const args = [source, sample, sourceBytes, 0, k, matrix, rowBytes] as const;
  kernels.repack(kind.ggmlType, kind.kind, ...args);
  const all = new Uint8Array(buffer, matrix, nRows * rowBytes);
  for (let done = sample * rowBytes; done < all.length; done *= 2) {
    all.copyWithin(done, 0, Math.min(done, all.length - done));
  }
  new Float32Array(buffer, x, k).forEach((_, i, x) =>
    x[i] = Math.random() - 0.5
  );
  for (let t = 0; t < maxTokens; t++) {
    const to = activations + t * activationBytes;
    if (isFloat) new Uint8Array(buffer).copyWithin(to, x, x + 4 * k);
    else {
      const rest = [1, k, to, activationBytes] as const;
      kernels.quantise_activations(x, k, ...rest);
    }
  }
  new Float32Array(buffer, h, nRows).fill(1e-6);
  return {
    kernels,
    kind: kind.kind,
    k,
    rowBytes,
    nRows,
    matrix,
    activations,
    activationBytes,
    h,
    out,
  };
}

function multiply(m: Loaded, nRows: number, nTokens: number): void {
  m.kernels.matmul(
    m.kind,
    m.matrix,
    m.rowBytes,
    nRows,
    m.k,
    m.activations,
    m.activationBytes,
    nTokens,
    m.out,
    nTokens > 1 ? 1024 : nRows,
  );
}

function addRows(m: Loaded, nRows: number): void {
  m.kernels.axpy_rows(
    m.kind,
    m.matrix,
    m.rowBytes,
    nRows,
    m.k,
    m.h,
    0,
    1,
    m.out,
    0,
  );
}

/** A kernel's first calls run in the baseline compiler: many short ones bring the optimised code. */
function warmUp(m: Loaded): void {
  for (let i = 0; i < 400; i++) {
    multiply(m, 8, 1);
    multiply(m, 8, 4);
    addRows(m, 8);
    m.kernels.read_bytes(m.matrix, 1 << 16);
  }
}

function run(job: Job): void {
  switch (job.do) {
    case "load":
      loaded = load(job);
      return warmUp(loaded);
    case "read":
      loaded.kernels.read_bytes(loaded.matrix, loaded.nRows * loaded.rowBytes);
      return;
    case "decode":
      return multiply(loaded, loaded.nRows, 1);
    case "axpy":
      return addRows(loaded, loaded.nRows);
    case "tile":
      for (let i = 0; i < job.times; i++) {
        multiply(loaded, job.nRows, job.nTokens);
      }
  }
}

const scope = self as unknown as Worker;
scope.onmessage = ({ data }: MessageEvent<Job>) => {
  const start = performance.now();
  run(data);
  scope.postMessage((performance.now() - start) / 1000);
};
