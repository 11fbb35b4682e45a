/**
 * Keys and values on the device, in pages of 32 positions: a buffer for each
 * layer, `[page][KV head]`. `shaders/kv_*.wgsl` say what is in the page of a head.
 *
 * @module
 */
import type { Batch } from "../batch.ts";
import type { Commands } from "./commands.ts";
import type { Device } from "./device.ts";
import type { DeviceLayout } from "./layout.ts";

const usage = () =>
  GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;

/** Room for one sequence at the start; grows with the pages that a batch names. */
export class KvCache {
  /** A buffer for each layer that has heads; another one after the cache has grown. */
  readonly buffers: (GPUBuffer | undefined)[];
  readonly #pageBytes: readonly number[];
  /** A page on its way: a buffer cannot be copied to itself. */
  readonly #page?: GPUBuffer;
  #pages: number;

  constructor(
    readonly device: Device,
    readonly commands: Commands,
    { pageBytes, pages, bytes }: DeviceLayout,
  ) {
    this.#pageBytes = pageBytes;
    this.#pages = pages;
    this.buffers = pageBytes.map((size) =>
      size > 0 ? this.#make(pages * size) : undefined
    );
    if (bytes.page > 0) {
      const { COPY_DST, COPY_SRC } = GPUBufferUsage;
      this.#page = device.buffer("a page", bytes.page, COPY_DST | COPY_SRC);
    }
  }

  /**
   * Makes room for the batch's pages. Says whether there are new buffers.
   *
   * @throws {GpuError} where the device has no room for them
   */
  grow({ pageCount }: Batch): boolean {
    if (!this.#page || pageCount <= this.#pages) return false;
    const pages = Math.max(pageCount, Math.ceil(1.25 * this.#pages));
    for (const [layer, old] of this.buffers.entries()) {
      if (!old) continue;
      const buffer = this.#make(pages * this.#pageBytes[layer]);
      this.commands.copy(old, 0, buffer, 0, old.size);
      this.commands.submit();
      this.device.release(old);
      this.buffers[layer] = buffer;
    }
    this.#pages = pages;
    return true;
  }

  /** Copies the pages that part. */
  copy({ copies, copyCount }: Batch): void {
    const { commands } = this;
    for (let i = 0; i < copyCount; i++) {
      for (const [layer, buffer] of this.buffers.entries()) {
        if (!buffer) continue;
        const bytes = this.#pageBytes[layer];
        const from = bytes * copies[2 * i], to = bytes * copies[2 * i + 1];
        commands.copy(buffer, from, this.#page!, 0, bytes);
        commands.copy(this.#page!, 0, buffer, to, bytes);
      }
    }
  }

  #make(bytes: number): GPUBuffer {
    return this.device.buffer("keys and values", bytes, usage());
  }
}
