/** Instances of both builds of the kernels, with a memory to put numbers in. */

import type { Kernels } from "../../wasm/kernels.d.ts";
import { isReadType } from "../../src/formats/ggml/dequantise.ts";
import { floatToBfloat16, halfToFloat } from "../../src/formats/ggml/half.ts";
import { putScale } from "../../src/formats/ggml/random_blocks.ts";
import { compileKernels } from "../../src/kernels/kernels.ts";
import { ggmlTypes } from "../../src/formats/ggml/types.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { halvesOf } from "../helpers/block_halves.ts";

export const builds = {
  relaxed: await compileKernels("relaxed"),
  simd128: await compileKernels("simd128"),
};

/** The packed kind that holds whole groups of each type exactly. */
export const kindOf: Readonly<Record<GgmlType, number>> = {
  F32: 0,
  BF16: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q4_K: 15,
  Q8_0: 11,
  Q5_0: 18,
  Q5_1: 12,
  Q5_K: 16,
  Q6_K: 17,
  Q3_K: 17,
  Q2_K: 14,
  IQ4_NL: 5,
  IQ4_XS: 5,
  MXFP4: 6,
  NVFP4: 13,
  TQ1_0: 2,
  TQ2_0: 2,
  Q1_0: 2,
  Q2_0: 2,
  IQ1_S: 10,
  IQ1_M: 13,
  IQ2_XXS: 9,
  IQ2_XS: 13,
  IQ2_S: 13,
  IQ3_XXS: 7,
  IQ3_S: 8,
};

/** The kind that holds other groups of a type, where that is another one. */
export const looseKindOf: Readonly<Partial<Record<GgmlType, number>>> = {
  Q4_K: 4,
  Q5_0: 11,
  Q5_K: 12,
  Q6_K: 13,
  Q3_K: 13,
};

/** Weights of which rows of a kind have a multiple. */
export function unitOf(type: GgmlType, kind: number = kindOf[type]): number {
  const { blockSize } = ggmlTypes[type];
  return kind === looseKindOf[type] || !(type in looseKindOf)
    ? blockSize
    : Math.max(128, blockSize);
}

/** An instance and a stack of allocations in its memory. */
export class Instance {
  readonly kernels: Kernels;
  #top: number;

  constructor(module: WebAssembly.Module) {
    this.kernels = new WebAssembly.Instance(module, {})
      .exports as unknown as Kernels;
    this.#top = this.kernels.heap_base();
  }

  /** Forgets all allocations. */
  reset(): void {
    this.#top = this.kernels.heap_base();
  }

  /** Room for `bytes` bytes, aligned to 16; its old content is noise. */
  allocate(bytes: number): number {
    const pointer = Math.ceil(this.#top / 16) * 16;
    this.#top = pointer + bytes;
    const { memory } = this.kernels;
    const missing = this.#top + 64 - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    // 0xff bytes are NaN as f32: whatever is read by mistake shows up.
    new Uint8Array(memory.buffer, pointer, bytes + 64).fill(0xff);
    return pointer;
  }

  bytes(pointer: number, length: number): Uint8Array {
    return new Uint8Array(this.kernels.memory.buffer, pointer, length);
  }

  floats(pointer: number, length: number): Float32Array {
    return new Float32Array(this.kernels.memory.buffer, pointer, length);
  }

  words(pointer: number, length: number): Uint32Array {
    return new Uint32Array(this.kernels.memory.buffer, pointer, length);
  }

  /** Copies an array in and returns where it lies. */
  put(data: Float32Array | Uint8Array | Uint32Array): number {
    const pointer = this.allocate(data.byteLength);
    this.bytes(pointer, data.byteLength).set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    );
    return pointer;
  }

  /** Packs columns `first..first + k` of rows of ggml blocks. */
  pack(
    type: GgmlType,
    rows: Uint8Array,
    nRows: number,
    first: number,
    k: number,
    kind: number = kindOf[type],
  ): { pointer: number; rowBytes: number; written: number } {
    const rowBytes = this.kernels.packed_row_bytes(kind, k);
    const source = this.put(rows);
    const pointer = this.allocate(rowBytes * nRows);
    const written = this.kernels.repack(
      ggmlTypes[type].id,
      kind,
      source,
      nRows,
      nRows === 0 ? 0 : rows.length / nRows,
      first,
      k,
      pointer,
      rowBytes,
    );
    return { pointer, rowBytes, written };
  }
}

/**
 * `n` random weights of a type: random bytes, with the f16 numbers that `half`
 * gives; F32 and BF16 weights are small integers.
 */
export function randomRows(
  type: GgmlType,
  n: number,
  random: () => number,
  half: () => number,
): Uint8Array<ArrayBuffer> {
  const { blockSize, blockBytes } = ggmlTypes[type];
  const bytes = new Uint8Array((n / blockSize) * blockBytes);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 256 * random();
  for (let at = 0; at < bytes.length; at += blockBytes) {
    if (isReadType(type)) {
      putScale[type](bytes, at, halfToFloat(half()));
      continue;
    }
    for (const field of halvesOf[type]) {
      view.setUint16(at + field, half(), true);
    }
    const integer = Math.round(64 * random() - 32);
    if (type === "F32") view.setFloat32(at, integer, true);
    if (type === "BF16") view.setUint16(at, floatToBfloat16(integer), true);
  }
  return bytes;
}
