/**
 * Weights from one type to another: the K types, whose scales are found by least
 * squares, by a WASM kernel that gives the same bytes as the functions in
 * TypeScript.
 */
import { dequantise } from "../formats/ggml/dequantise.ts";
import { quantise } from "../formats/ggml/quantise.ts";
import { type GgmlType, ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import type { Kernels } from "../../wasm/kernels.d.ts";

/** Weights to store as another type. */
export interface Requantisation {
  /** As `from` stores them */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly from: GgmlType;
  readonly to: GgmlType;
  /** How many weights there are: a whole number of blocks of both types */
  readonly count: number;
}

/** Weights on their way. */
let floats = new Float32Array(0);

/**
 * Stores weights as another type.
 *
 * @throws {UsageError} as `quantise` does
 */
export function requantise(
  kernels: Kernels,
  weights: Requantisation,
): Uint8Array<ArrayBuffer> {
  const { bytes, from, to, count } = weights;
  if (to === "Q4_K" || to === "Q6_K") return byKernel(kernels, weights);
  if (floats.length < count) floats = new Float32Array(count);
  const values = floats.subarray(0, count);
  dequantise(from, bytes, values);
  return quantise(to, values);
}

/** Weights and blocks lie one after the other in the kernel's memory. */
function byKernel(
  { memory, heap_base, quantise_k }: Kernels,
  { bytes, from, to, count }: Requantisation,
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
