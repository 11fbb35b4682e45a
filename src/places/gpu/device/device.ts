/** A WebGPU device, what it can do, and the kernels compiled for it. */
import { GpuError, GpuMemoryError } from "../../../errors.ts";
import {
  bindingNames,
  bindingTypes,
  type Kernel,
  type OverridesOf,
  wgslOf,
} from "../kernels/kernel.ts";
import { mulMatVec } from "../kernels/products.ts";
import { mapsAtOnce } from "./mapping_trial.ts";

/** Features that are requested where the adapter has them: subgroups for sums over lanes, timestamps for traces. */
const useful: readonly GPUFeatureName[] = ["subgroups", "timestamp-query"];

/** What all places on a device share. Keeps the first thing that went wrong. */
export class Device {
  /** The adapter's name, and `software` where it is no GPU. */
  readonly name: string;
  readonly isSoftware: boolean;
  /** Resolves when the device is lost, also by its own `destroy`. */
  readonly lost: Promise<GpuError>;
  readonly pipelines: Pipelines;
  /** Whether what is mapped can be read at once, by a thread that may block: tried while weights load. */
  readonly readsAtOnce: Promise<boolean>;
  #failure?: GpuError;

  private constructor(
    readonly gpu: GPUDevice,
    { info }: GPUAdapter,
    /** Whether shaders may use subgroups of 32 lanes at least. */
    readonly subgroups: boolean,
  ) {
    this.pipelines = new Pipelines(gpu, subgroups);
    const name = nameOf(info);
    this.isSoftware = info.isFallbackAdapter;
    this.name = this.isSoftware ? `${name}, software` : name;
    this.lost = gpu.lost.then(({ message }) =>
      this.failed(message || "the device was lost")
    );
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.failed((event as GPUUncapturedErrorEvent).error.message);
    });
    this.readsAtOnce = mapsAtOnce(gpu);
  }

  /**
   * Opens the adapter that the system prefers, with its own limits.
   *
   * @throws {GpuError} where there is none
   */
  static async open(): Promise<Device> {
    const adapter = await findAdapter();
    if (!adapter) throw new GpuError("Cannot use a GPU: there is none here");
    const { limits, features } = adapter;
    try {
      const device = await adapter.requestDevice({
        requiredFeatures: useful.filter((name) => features.has(name)),
        requiredLimits: {
          maxBufferSize: limits.maxBufferSize,
          maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        },
      });
      const subgroups = features.has("subgroups") &&
        adapter.info.subgroupMinSize >= 32 && await compilesSubgroups(device);
      return new Device(device, adapter, subgroups);
    } catch (error) {
      throw new GpuError(
        `Cannot use the GPU ${nameOf(adapter.info)}: ${
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
   * Runs `work`, and waits until the device has accepted all that it made.
   *
   * @throws {GpuError} where the device refuses something
   * @throws {GpuMemoryError} where it has no memory for it
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
        const kind = error instanceof GPUOutOfMemoryError
          ? GpuMemoryError
          : GpuError;
        // deno-lint-ignore no-unsafe-finally -- the device's reason comes first
        throw new kind(
          `Cannot ${what} on ${this.name}: ${error.message.trim()}`,
        );
      }
    }
  }

  /** @throws {GpuError} where the device was lost, or an error came up since it was opened */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Records that the device has failed; {@linkcode check} throws the first such error. */
  failed(reason: string): GpuError {
    this.#failure ??= new GpuError(
      `The GPU failed (${this.name}): ${reason.trim()}`,
    );
    return this.#failure;
  }

  destroy(): void {
    this.gpu.destroy();
  }
}

/** The adapter that the system prefers; undefined where there is none. */
export async function findAdapter(): Promise<GPUAdapter | undefined> {
  // Deno's own types promise it; other runtimes may lack it.
  const gpu = navigator.gpu as GPU | undefined;
  const adapter = await gpu?.requestAdapter({
    powerPreference: "high-performance",
  });
  return adapter ?? undefined;
}

/** An adapter's name, for people; drivers fill in one field or another. */
export function nameOf(
  { description, device, vendor }: GPUAdapterInfo,
): string {
  return description || device || vendor || "GPU";
}

/** Whether the device takes a kernel that uses subgroups: some announce them, but refuse. */
async function compilesSubgroups(gpu: GPUDevice): Promise<boolean> {
  gpu.pushErrorScope("validation");
  const code = wgslOf(mulMatVec(["F32"], true));
  gpu.createComputePipeline({
    layout: "auto",
    compute: { module: gpu.createShaderModule({ code }) },
  });
  return await gpu.popErrorScope() === null;
}

/** What a kernel is bound to: a whole buffer, or a part of one. */
export type Bound = GPUBuffer | GPUBufferBinding;

export type BoundTo<K extends Kernel> = Readonly<
  Record<"step" | "params" | keyof K["bindings"], Bound>
>;

export class Pipelines {
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #pipelines = new Map<string, GPUComputePipeline>();

  constructor(
    readonly gpu: GPUDevice,
    /** Whether kernels may use subgroups of 32 lanes at least. */
    readonly subgroups: boolean,
  ) {}

  get<K extends Kernel>(
    kernel: K,
    overrides?: OverridesOf<K>,
  ): GPUComputePipeline {
    const { gpu } = this;
    const { name: label } = kernel;
    const constants = Object.fromEntries(
      Object.entries(overrides ?? {})
        .map(([name, value]) => [name, Number(value)]),
    );
    return made(
      this.#pipelines,
      label + JSON.stringify(constants),
      () =>
        gpu.createComputePipeline({
          label,
          layout: gpu.createPipelineLayout({
            bindGroupLayouts: [this.#layout(kernel)],
          }),
          compute: {
            module: made(
              this.#modules,
              label,
              () => gpu.createShaderModule({ label, code: wgslOf(kernel) }),
            ),
            entryPoint: "main",
            constants,
          },
        }),
    );
  }

  /** Binds buffers to a kernel, and to others with the same bindings. */
  bind<K extends Kernel>(kernel: K, bound: BoundTo<K>): GPUBindGroup {
    const byName: Readonly<Record<string, Bound>> = bound;
    return this.gpu.createBindGroup({
      label: kernel.name,
      layout: this.#layout(kernel),
      entries: bindingNames(kernel).map((name, binding) => {
        const resource = byName[name];
        return {
          binding,
          resource: "buffer" in resource ? resource : { buffer: resource },
        };
      }),
    });
  }

  #layout(kernel: Kernel): GPUBindGroupLayout {
    const types = bindingTypes(kernel);
    return made(
      this.#layouts,
      types.join(),
      () =>
        this.gpu.createBindGroupLayout({
          entries: types.map((type, binding) => ({
            binding,
            visibility: GPUShaderStage.COMPUTE,
            buffer: { type },
          })),
        }),
    );
  }
}

/** What a map has under a key, made where it has nothing. */
function made<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known) return known;
  const value = make();
  map.set(key, value);
  return value;
}
