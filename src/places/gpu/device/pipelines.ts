/**
 * Compiled kernels, each made once for every choice of its override constants.
 *
 * @module
 */
import {
  bindingNames,
  bindingTypes,
  type Kernel,
  type OverridesOf,
  wgslOf,
} from "../kernels/kernel.ts";

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
