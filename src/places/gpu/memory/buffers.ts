/**
 * The buffers of one place, counted and held to its budget, and the one that holds
 * the uniform parameters of its kernels.
 */
import { GpuError } from "../../../errors.ts";
import type { Device } from "../device/device.ts";
import { type Kernel, packParams, type ParamsOf } from "../kernels/kernel.ts";

/** Rows of numbers on the device, one for each token. */
export interface TokenRows {
  readonly buffer: GPUBuffer;
  /** f32 numbers from one token to the next, a multiple of 256 where a product reads them */
  readonly stride: number;
}

export class Buffers {
  readonly #made = new Set<GPUBuffer>();
  bytes = 0;

  /** All together take `budgetBytes` at most. */
  constructor(readonly device: Device, readonly budgetBytes = Infinity) {}

  /** Whether so many bytes more stay within the budget. */
  hasRoom(bytes: number): boolean {
    return this.bytes + bytes <= this.budgetBytes;
  }

  /**
   * Makes a buffer of zeros; its bytes are rounded up to a multiple of 4.
   *
   * @throws {GpuError} where it would pass the budget, or what one buffer may have
   */
  make(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const { gpu, name, maxBindingBytes } = this.device;
    const size = bufferBytes(bytes);
    if (size > maxBindingBytes) {
      throw new GpuError(
        `Cannot hold ${label} on ${name}: needs ${size} bytes in one buffer, it allows ${maxBindingBytes}`,
      );
    }
    if (!this.hasRoom(size)) {
      throw new GpuError(
        `Cannot hold ${label} on ${name}: needs ${size} bytes beside ${this.bytes}, the budget is ${this.budgetBytes}`,
      );
    }
    const buffer = gpu.createBuffer({ label, size, usage });
    this.#made.add(buffer);
    this.bytes += size;
    return buffer;
  }

  rows(label: string, bytes: number, stride: number): TokenRows {
    const { STORAGE, COPY_SRC } = GPUBufferUsage;
    return { buffer: this.make(label, bytes, STORAGE | COPY_SRC), stride };
  }

  release(buffer: GPUBuffer): void {
    this.#made.delete(buffer);
    this.bytes -= buffer.size;
    buffer.destroy();
  }

  releaseAll(): void {
    for (const buffer of this.#made) this.release(buffer);
  }
}

/** Bytes that a buffer takes which must hold `bytes`. */
export function bufferBytes(bytes: number): number {
  return Math.max(4, Math.ceil(bytes / 4) * 4);
}

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

  /** @throws {GpuError} where the kernel cannot take the values */
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
