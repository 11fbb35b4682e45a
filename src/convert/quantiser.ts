/**
 * Quantising at speed: the K types, whose scales are found by least squares, by
 * a WASM kernel that gives the same bytes as the functions in TypeScript.
 *
 * @module
 */
import { dequantise } from "../formats/ggml/dequantise.ts";
import { quantise } from "../formats/ggml/quantise.ts";
import { type GgmlType, ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import { loadKernels } from "../places/cpu/kernels.ts";
import { instantiate } from "../places/cpu/memory.ts";
import type { Kernels } from "../../wasm/kernels.d.ts";

let kernels: Promise<Kernels> | undefined;

/** Weights on their way; used between two awaits only, so that calls may overlap. */
let weights = new Float32Array(0);

/**
 * Stores `count` weights, the bytes of type `from`, as type `to`.
 *
 * @throws {UsageError} as `quantise` does
 */
export async function requantise(
  bytes: Uint8Array,
  from: GgmlType,
  to: GgmlType,
  count: number,
): Promise<Uint8Array<ArrayBuffer>> {
  if (to === "Q4_K" || to === "Q6_K") {
    kernels ??= loadKernels().then(({ module }) => instantiate(module));
    return byKernel(await kernels, bytes, from, to, count);
  }
  if (weights.length < count) weights = new Float32Array(count);
  const values = weights.subarray(0, count);
  dequantise(from, bytes, values);
  return quantise(to, values);
}

/** Weights and blocks lie one after the other in the kernel's memory. */
function byKernel(
  { memory, heap_base, quantise_k }: Kernels,
  bytes: Uint8Array,
  from: GgmlType,
  to: GgmlType,
  count: number,
): Uint8Array<ArrayBuffer> {
  const { id, blockSize } = ggmlTypes[to];
  const size = rowBytes(to, count);
  const values = Math.ceil(heap_base() / 16) * 16;
  const out = values + 4 * count;
  const missing = out + size - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  const floats = new Float32Array(memory.buffer, values, count);
  dequantise(from, bytes, floats);
  const blocks = new Uint8Array(memory.buffer, out, size).fill(0);
  const written = quantise_k(id, values, count / blockSize, out);
  // What a kernel cannot store, the function in TypeScript explains.
  return written * blockSize === count
    ? blocks.slice()
    : quantise(to, floats.slice());
}
