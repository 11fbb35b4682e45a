/**
 * Compiled kernels, each made once for every choice of its constants.
 *
 * @module
 */
import type { Device } from "./device.ts";
import {
  type Access,
  kernelBindings,
  type KernelName,
  shaderText,
} from "../kernels/shaders.ts";

/** Values of a kernel's override constants. */
export type Constants = Readonly<Record<string, number>>;

/** What a kernel is bound to, by number: whole buffers, or a part of one. */
export type Bound = GPUBuffer | GPUBufferBinding;

/** Compiles kernels for one device. */
export class Pipelines {
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #pipelines = new Map<string, GPUComputePipeline>();

  constructor(readonly device: Device) {}

  /** The kernel with these constants. */
  get(name: KernelName, constants: Constants = {}): GPUComputePipeline {
    const { gpu } = this.device;
    const label = labelOf(name);
    return made(
      this.#pipelines,
      label + JSON.stringify(constants),
      () =>
        gpu.createComputePipeline({
          label,
          layout: gpu.createPipelineLayout({
            bindGroupLayouts: [this.#layout(kernelBindings[name.kernel])],
          }),
          compute: {
            module: this.#module(name),
            entryPoint: "main",
            constants,
          },
        }),
    );
  }

  /** Binds buffers to a kernel; to the other product as well, where it is one. */
  bind(kernel: KernelName["kernel"], bound: readonly Bound[]): GPUBindGroup {
    return this.device.gpu.createBindGroup({
      label: kernel,
      layout: this.#layout(kernelBindings[kernel]),
      entries: bound.map((resource, binding) => ({
        binding,
        resource: "buffer" in resource ? resource : { buffer: resource },
      })),
    });
  }

  #module(name: KernelName): GPUShaderModule {
    const { gpu, subgroups } = this.device;
    const label = labelOf(name);
    return made(
      this.#modules,
      label,
      () =>
        gpu.createShaderModule({ label, code: shaderText(name, subgroups) }),
    );
  }

  #layout(bindings: readonly Access[]): GPUBindGroupLayout {
    return made(
      this.#layouts,
      bindings.join(),
      () =>
        this.device.gpu.createBindGroupLayout({
          entries: bindings.map((type, binding) => ({
            binding,
            visibility: GPUShaderStage.COMPUTE,
            buffer: { type },
          })),
        }),
    );
  }
}

function labelOf(name: KernelName): string {
  const types = "types" in name ? name.types : "type" in name ? name.type : [];
  return [name.kernel, ...[types].flat()].join(" ");
}

/** What a map has under a key, made where it has nothing. */
function made<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known) return known;
  const value = make();
  map.set(key, value);
  return value;
}
