/** Kernels by themselves, on whatever adapter is here. */
import { Commands } from "../../../src/places/gpu/commands.ts";
import { Device } from "../../../src/places/gpu/device.ts";
import { Buffers } from "../../../src/places/gpu/buffers.ts";
import { uniformBytes, Uniforms } from "../../../src/places/gpu/uniforms.ts";
import type { Shared } from "../../../src/places/gpu/product.ts";

/** A device and what kernels need, given back at the end. */
export class Bench implements Disposable {
  readonly buffers: Buffers;
  readonly commands: Commands;
  readonly shared: Shared;

  private constructor(readonly device: Device, step: number[]) {
    this.commands = new Commands(device);
    this.buffers = new Buffers(device);
    this.shared = {
      buffers: this.buffers,
      pipelines: device.pipelines,
      uniforms: new Uniforms(this.buffers, 64 * uniformBytes),
      step: this.buffer(Uint32Array.from(step)),
      counters: this.buffer(new Uint32Array(64)),
    };
  }

  /** Opens a device, with these words as the step. */
  static async open(step: number[]): Promise<Bench> {
    return new Bench(await Device.open(), step);
  }

  /** A buffer with this in it. */
  buffer(
    data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
  ): GPUBuffer {
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    const buffer = this.buffers.make(
      "test",
      data.byteLength,
      STORAGE | COPY_DST | COPY_SRC,
    );
    this.device.gpu.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  /** Runs `encode` and reads a buffer; throws what the device refuses. */
  async run(encode: () => void, from: GPUBuffer): Promise<ArrayBuffer> {
    return await this.device.accepts("test", async () => {
      encode();
      const staging = this.buffers.make(
        "read back",
        from.size,
        GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      );
      this.commands.copy(from, 0, staging, 0, from.size);
      this.commands.submit();
      await staging.mapAsync(GPUMapMode.READ);
      const bytes = staging.getMappedRange().slice(0);
      staging.unmap();
      return bytes;
    });
  }

  /** Gives the device back. */
  [Symbol.dispose](): void {
    this.device.destroy();
  }
}

/** The header of a step, and records with nothing but the wanted tokens. */
export function stepWords(
  tokens: number,
  { wanted = [], stretches = 1 }: { wanted?: number[]; stretches?: number } =
    {},
): number[] {
  const records = Array.from(
    { length: tokens },
    (_, t) => [0, 0, wanted[t] ?? 0, 0],
  );
  return [tokens, 0, wanted.length, stretches, 4, 0, 0, 0, ...records.flat()];
}
