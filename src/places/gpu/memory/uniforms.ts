/**
 * The uniform parameters of kernels, in one buffer.
 *
 * @module
 */
import { type Kernel, packParams, type ParamsOf } from "../kernels/kernel.ts";
import type { Buffers } from "./buffers.ts";

/** Bytes from one struct to the next: what bindings are aligned to at most. */
export const uniformBytes = 256;

/** Hands out structs; all are written once. */
export class Uniforms {
  readonly #buffer: GPUBuffer;
  #used = 0;

  /** Room for `bytes / uniformBytes` structs. */
  constructor(readonly buffers: Buffers, bytes: number) {
    this.#buffer = buffers.make(
      "uniform parameters",
      bytes,
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    );
  }

  /**
   * Writes a kernel's parameters.
   *
   * @throws {GpuError} where the kernel cannot take them
   */
  add<K extends Pick<Kernel, "name" | "params" | "limits">>(
    kernel: K,
    values: ParamsOf<K>,
  ): GPUBufferBinding {
    const words = packParams(kernel, values);
    const offset = uniformBytes * this.#used++;
    this.buffers.device.gpu.queue.writeBuffer(this.#buffer, offset, words);
    return { buffer: this.#buffer, offset, size: words.byteLength };
  }
}
