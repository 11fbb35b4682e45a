/**
 * Results on their way from the device.
 *
 * Deno maps a buffer before `mapAsync` returns, and settles its promise some 10
 * ms later; so on versions where that was tried, what is mapped is read at once,
 * which takes 0.1 ms. A staging buffer serves again when its promise has
 * settled, so there are many. Elsewhere, and where all of them wait, the promise
 * is awaited.
 *
 * @module
 */
import type { Commands } from "../device/commands.ts";
import type { Buffers } from "../memory/buffers.ts";
import type { Device } from "../device/device.ts";
import type { StagingLayout } from "../memory/layout.ts";

/** Deno's versions on which a mapped buffer was read before the promise settled. */
const synchronousVersions = ["2.9.6"];

/** How results are waited for. */
export type ReadBackKind = "synchronous" | "awaited";

/** How results can be waited for here: never by blocking a thread that has other events to attend to. */
export function readBackKind(): ReadBackKind {
  const isWorker = "WorkerGlobalScope" in globalThis;
  return isWorker && canReadAtOnce() ? "synchronous" : "awaited";
}

/** Whether what is mapped can be read at once, by a thread that may block. */
export function canReadAtOnce(): boolean {
  return synchronousVersions.includes(globalThis.Deno?.version?.deno);
}

/** A part of a buffer. */
export interface Region {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

/** A buffer that the device writes and this side reads. */
interface Staging {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
  /** Settles when the last mapping has; left out when it has settled */
  mapping?: Promise<void>;
}

/** Reads regions back through staging buffers. */
export class ReadBack {
  readonly device: Device;
  readonly #stagings: readonly Staging[];

  /** Makes the staging buffers, the smallest first. */
  constructor(
    buffers: Buffers,
    readonly commands: Commands,
    readonly kind: ReadBackKind,
    layout: readonly StagingLayout[],
  ) {
    this.device = buffers.device;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    this.#stagings = layout.flatMap(({ bytes, count }) =>
      Array.from(
        { length: count },
        () => ({ bytes, buffer: buffers.make("staging", bytes, usage) }),
      )
    );
  }

  /**
   * Maps every staging buffer once: one that never was mapped must not be read at once.
   *
   * @throws {GpuError} where the device has failed
   */
  async prime(): Promise<void> {
    await Promise.all(this.#stagings.map((staging) => this.#map(staging)));
    this.device.check();
    for (const { buffer } of this.#stagings) buffer.unmap();
  }

  /**
   * Submits what is encoded, and gives what `take` makes of the regions' bytes,
   * which lie one behind the other and are gone when it returns.
   *
   * @throws {GpuError} where the device has failed
   */
  read<T>(
    regions: readonly Region[],
    take: (bytes: ArrayBuffer) => T,
  ): T | Promise<T> {
    this.device.check();
    const bytes = regions.reduce((sum, region) => sum + region.bytes, 0);
    const free = this.#free(bytes);
    if (!free || this.kind === "awaited") {
      return this.#readLater(regions, bytes, take);
    }
    this.#copy(regions, free, bytes);
    void this.#map(free);
    return this.#take(free, bytes, take);
  }

  async #readLater<T>(
    regions: readonly Region[],
    bytes: number,
    take: (bytes: ArrayBuffer) => T,
  ): Promise<T> {
    let free = this.#free(bytes);
    while (!free) {
      const busy = this.#stagings.filter((staging) => staging.bytes >= bytes);
      await Promise.race(busy.map(({ mapping }) => mapping));
      this.device.check();
      free = this.#free(bytes);
    }
    this.#copy(regions, free, bytes);
    await this.#map(free);
    this.device.check();
    return this.#take(free, bytes, take);
  }

  /** The smallest staging buffer that holds so many bytes and waits for nothing. */
  #free(bytes: number): Staging | undefined {
    return this.#stagings.find((staging) =>
      staging.bytes >= bytes && !staging.mapping
    );
  }

  /** Maps a buffer; resolves when it is free to be mapped again, or the device has failed. */
  async #map(staging: Staging): Promise<void> {
    staging.mapping = staging.buffer.mapAsync(GPUMapMode.READ)
      .catch((error) => void this.#unreadable(error));
    this.commands.trace?.ended();
    await staging.mapping;
    staging.mapping = undefined;
  }

  #copy(regions: readonly Region[], { buffer }: Staging, bytes: number): void {
    const { commands } = this;
    let filled = 0;
    for (const region of regions) {
      commands.copy(region.buffer, 0, buffer, filled, region.bytes);
      filled += region.bytes;
    }
    commands.submit();
    commands.counts.readBacks++;
    commands.counts.downloaded += bytes;
  }

  #take<T>(
    { buffer }: Staging,
    bytes: number,
    take: (bytes: ArrayBuffer) => T,
  ): T {
    let range: ArrayBuffer;
    try {
      range = buffer.getMappedRange(0, bytes);
    } catch (error) {
      throw this.#unreadable(error);
    }
    try {
      return take(range);
    } finally {
      buffer.unmap();
    }
  }

  #unreadable(error: unknown): Error {
    const { message } = error as Error;
    return this.device.failed(`its results cannot be read (${message})`);
  }
}
