/**
 * A WebGPU device, what it can do, and how many bytes lie on it.
 *
 * @module
 */
import { GpuError } from "../../errors.ts";

/** How a device is opened. */
export interface DeviceOptions {
  /** Bytes that all buffers together may take; as many as the device has, where left out. */
  readonly budgetBytes?: number;
}

/** Makes buffers and counts them; keeps the first thing that went wrong. */
export class Device {
  /** The adapter's name, and `software` where it is no GPU. */
  readonly name: string;
  /** Resolves when the device is lost, also by its own `destroy`. */
  readonly lost: Promise<GpuError>;
  /** Bytes of all buffers. */
  bytes = 0;
  #failure?: GpuError;

  private constructor(
    readonly gpu: GPUDevice,
    { info }: GPUAdapter,
    /** Whether shaders may use subgroups of 32 lanes at least. */
    readonly subgroups: boolean,
    readonly options: DeviceOptions,
  ) {
    const name = info.description || info.device || info.vendor || "GPU";
    this.name = info.isFallbackAdapter ? `${name}, software` : name;
    this.lost = gpu.lost.then(({ message }) =>
      this.#fail(message || "the device was lost")
    );
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#fail(event.error.message);
    });
  }

  /**
   * Opens the adapter that the system prefers, with its own limits.
   *
   * @throws {GpuError} where there is none
   */
  static async open(options: DeviceOptions = {}): Promise<Device> {
    // Deno's own types promise it; other runtimes may lack it.
    const gpu = navigator.gpu as GPU | undefined;
    if (!gpu) throw new GpuError("Cannot use a GPU: WebGPU is missing here");
    const adapter = await gpu.requestAdapter({
      powerPreference: "high-performance",
    });
    if (!adapter) {
      throw new GpuError("Cannot use a GPU: WebGPU finds no adapter here");
    }
    const { limits, features } = adapter;
    try {
      const device = await adapter.requestDevice({
        requiredFeatures: features.has("subgroups") ? ["subgroups"] : [],
        requiredLimits: {
          maxBufferSize: limits.maxBufferSize,
          maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        },
      });
      const subgroups = adapter.info.subgroupMinSize >= 32 &&
        await compilesSubgroups(device);
      return new Device(device, adapter, subgroups, options);
    } catch (error) {
      throw new GpuError(
        `Cannot use the GPU ${adapter.info.description}: ${
          (error as Error).message
        }`,
        { cause: error },
      );
    }
  }

  /** Bytes of one buffer that a kernel can see. */
  get maxBindingBytes(): number {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.gpu.limits;
    return Math.min(maxStorageBufferBindingSize, maxBufferSize);
  }

  /**
   * Makes a buffer of zeros; its bytes are rounded up to a multiple of 4.
   *
   * @throws {GpuError} where it would pass the budget, or what one buffer may have
   */
  buffer(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const size = bufferBytes(bytes);
    if (size > this.maxBindingBytes) {
      throw new GpuError(
        `Cannot hold ${label} on ${this.name}: needs ${size} bytes in one buffer, it allows ${this.maxBindingBytes}`,
      );
    }
    const { budgetBytes = Infinity } = this.options;
    if (this.bytes + size > budgetBytes) {
      throw new GpuError(
        `Cannot hold ${label} on ${this.name}: needs ${size} bytes beside ${this.bytes}, the budget is ${budgetBytes}`,
      );
    }
    const buffer = this.gpu.createBuffer({ label, size, usage });
    this.bytes += size;
    return buffer;
  }

  /** Gives a buffer back. */
  release(buffer: GPUBuffer): void {
    this.bytes -= buffer.size;
    buffer.destroy();
  }

  /**
   * Runs `work`, and waits until the device has accepted all that it made.
   *
   * @throws {GpuError} where the device refuses something, or has no memory for it
   */
  async accepts<T>(what: string, work: () => T | Promise<T>): Promise<T> {
    const scopes = ["validation", "out-of-memory"] as const;
    for (const scope of scopes) this.gpu.pushErrorScope(scope);
    try {
      return await work();
    } finally {
      const errors = await Promise.all(
        scopes.map(() => this.gpu.popErrorScope()),
      );
      const error = errors.find((found) => found !== null);
      if (error) {
        // deno-lint-ignore no-unsafe-finally -- the device's reason comes first
        throw new GpuError(
          `Cannot ${what} on ${this.name}: ${error.message.trim()}`,
        );
      }
    }
  }

  /** @throws {GpuError} where the device was lost, or an error came up since it was opened */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** An error of this device, which {@linkcode check} repeats. */
  failed(reason: unknown): GpuError {
    return this.#failure ??
      this.#fail(reason instanceof Error ? reason.message : String(reason));
  }

  /** Frees all buffers. */
  destroy(): void {
    this.gpu.destroy();
  }

  #fail(reason: string): GpuError {
    this.#failure ??= new GpuError(
      `The GPU failed (${this.name}): ${reason.trim()}`,
    );
    return this.#failure;
  }
}

/** Bytes that a buffer takes which must hold `bytes`. */
export function bufferBytes(bytes: number): number {
  return Math.max(4, Math.ceil(bytes / 4) * 4);
}

/** Whether the device takes a shader that uses subgroups: some announce them, but refuse. */
async function compilesSubgroups(gpu: GPUDevice): Promise<boolean> {
  if (!gpu.features.has("subgroups")) return false;
  gpu.pushErrorScope("validation");
  const code = `@compute @workgroup_size(32)
    fn main(@builtin(local_invocation_index) i: u32) { _ = subgroupShuffleXor(i, 1u); }`;
  gpu.createComputePipeline({
    layout: "auto",
    compute: { module: gpu.createShaderModule({ code }) },
  });
  return await gpu.popErrorScope() === null;
}
