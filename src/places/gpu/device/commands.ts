/**
 * The commands of a step: one encoder and one pass for everything
 * between two submits.
 */
import { type GpuCounts, noGpuCounts } from "../../gpu_stats.ts";
import type { Grid } from "../kernels/kernel.ts";
import type { Activity } from "../../trace.ts";
import type { Device } from "./device.ts";
import type { DeviceTrace } from "./device_trace.ts";

export class Commands {
  readonly counts: Record<keyof GpuCounts, number> = { ...noGpuCounts };
  /** Records when passes run, in a step that is traced */
  trace?: DeviceTrace;
  #encoder?: GPUCommandEncoder;
  #pass?: GPUComputePassEncoder;

  constructor(readonly device: Device) {}

  dispatch(
    pipeline: GPUComputePipeline,
    group: GPUBindGroup,
    grid: Grid,
  ): void {
    this.#encoder ??= this.device.gpu.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass(this.trace?.nextPass());
    this.#pass.setPipeline(pipeline);
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(...grid);
    this.counts.dispatches++;
  }

  /** Labels what is computed from here on: a step that is traced has a pass for each label. */
  mark(activity: Activity, layer?: number): void {
    if (this.trace?.mark(activity, layer)) this.#endPass();
  }

  copy(
    from: GPUBuffer,
    fromOffset: number,
    to: GPUBuffer,
    toOffset: number,
    bytes: number,
  ): void {
    this.#endPass();
    this.#encoder ??= this.device.gpu.createCommandEncoder();
    this.#encoder.copyBufferToBuffer(from, fromOffset, to, toOffset, bytes);
  }

  /** Writes `bytes` bytes of `data` into a buffer, behind what is encoded so far. */
  write(
    buffer: GPUBuffer,
    data: ArrayBufferLike,
    bytes: number,
    offset = 0,
  ): void {
    this.submit();
    // It may be shared, which WebGPU allows, and not every declaration of it says.
    const content = data as ArrayBuffer;
    this.device.gpu.queue.writeBuffer(buffer, offset, content, 0, bytes);
    this.counts.uploaded += bytes;
  }

  /** Lets the device run what is encoded, if anything is. */
  submit(): void {
    if (!this.#encoder) return;
    this.#endPass();
    this.device.gpu.queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.counts.submits++;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}
