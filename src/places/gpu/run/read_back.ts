/**
 * Results on their way from the device.
 *
 * Where a device's mapped buffers can be read at once (`device/mapping_trial.ts`)
 * that takes 0.1 ms, and the promise settles some 10 ms later. A staging buffer
 * serves again when its promise has settled, so there are many. Elsewhere, and
 * where all of them wait, the promise is awaited.
 */
import type { Commands } from "../device/commands.ts";
import type { Device } from "../device/device.ts";
import type { Buffers } from "../memory/buffers.ts";
import type { StagingLayout } from "../memory/layout.ts";

export type ReadBackKind = "synchronous" | "awaited";

export interface Region {
  readonly buffer: GPUBuffer;
  /** Where it begins; at the start, where left out */
  readonly offset?: number;
  readonly bytes: number;
}

/** A buffer that the device writes and this side reads. */
interface Staging {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
  /** Settles when the last mapping has; left out when it has settled */
  mapping?: Promise<void>;
}

export class ReadBack {
  readonly device: Device;
  readonly #stagings: readonly Staging[];
  /** How results are waited for; known when it is primed. */
  kind: ReadBackKind = "awaited";

  /** Makes the staging buffers, the smallest first. */
  constructor(
    buffers: Buffers,
    readonly commands: Commands,
    layout: readonly StagingLayout[],
    /** What fits here, where left out */
    readonly wanted?: ReadBackKind,
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
   * Maps every staging buffer once: one that never was mapped must not be read at
   * once. A thread that has other events to attend to never blocks.
   *
   * @throws {GpuError} where the device has failed
   */
  async prime(): Promise<void> {
    await Promise.all(this.#stagings.map((staging) => this.#map(staging)));
    this.device.check();
    for (const { buffer } of this.#stagings) buffer.unmap();
    const isWorker = "WorkerGlobalScope" in globalThis;
    const fits = isWorker && await this.device.readsAtOnce;
    this.kind = this.wanted ?? (fits ? "synchronous" : "awaited");
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
    // The smallest that holds so many bytes and waits for nothing.
    const fitting = this.#stagings.filter((staging) => staging.bytes >= bytes);
    const free = fitting.find(({ mapping }) => !mapping);
    if (!free) {
      const mappings = fitting.map(({ mapping }) => mapping);
      return Promise.race(mappings).then(() => this.read(regions, take));
    }
    this.#copy(regions, free, bytes);
    this.commands.encodeAhead();
    const mapping = this.#map(free);
    if (this.kind === "synchronous") {
      const range = rangeOf(free, bytes);
      if (range instanceof ArrayBuffer) return this.#take(free, range, take);
    }
    return mapping.then(() => {
      this.device.check();
      const range = rangeOf(free, bytes);
      if (range instanceof ArrayBuffer) return this.#take(free, range, take);
      throw this.#unreadable(range);
    });
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
    for (const { buffer: from, offset = 0, bytes } of regions) {
      commands.copy(from, offset, buffer, filled, bytes);
      filled += bytes;
    }
    commands.submit();
    commands.counts.readBacks++;
    commands.counts.downloaded += bytes;
  }

  #take<T>(
    { buffer }: Staging,
    range: ArrayBuffer,
    take: (bytes: ArrayBuffer) => T,
  ): T {
    try {
      return take(range);
    } finally {
      buffer.unmap();
    }
  }

  #unreadable({ message }: Error): Error {
    return this.device.failed(`its results cannot be read (${message})`);
  }
}

/** What is mapped of a buffer, or why nothing is. */
function rangeOf({ buffer }: Staging, bytes: number): ArrayBuffer | Error {
  try {
    return buffer.getMappedRange(0, bytes);
  } catch (error) {
    return error as Error;
  }
}
