/**
 * The small structs that tell kernels their shapes, in one buffer.
 *
 * @module
 */
import type { Buffers } from "./buffers.ts";

/** Bytes from one struct to the next: what bindings are aligned to at most. */
export const uniformBytes = 256;

/** A field of a struct: a whole number, or a float. */
export type Field = number | { readonly f32: number };

/** Hands out structs; all are written once. */
export class Uniforms {
  readonly #buffer: GPUBuffer;
  #used = 0;

  /** Room for `bytes / uniformBytes` structs. */
  constructor(readonly buffers: Buffers, bytes: number) {
    this.#buffer = buffers.make(
      "shapes",
      bytes,
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    );
  }

  /** Writes a struct of 32-bit fields. */
  add(fields: readonly Field[]): GPUBufferBinding {
    // Structs end on multiples of 16 bytes.
    const words = new Uint32Array(4 * Math.ceil(fields.length / 4));
    const floats = new Float32Array(words.buffer);
    fields.forEach((field, i) => {
      if (typeof field === "number") words[i] = field;
      else floats[i] = field.f32;
    });
    const offset = uniformBytes * this.#used++;
    this.buffers.device.gpu.queue.writeBuffer(this.#buffer, offset, words);
    return { buffer: this.#buffer, offset, size: words.byteLength };
  }
}
