/**
 * The commands of a step: one encoder and one pass for everything
 * between two submits.
 *
 * Steps repeat themselves: while the device works and its results are waited
 * for, {@linkcode Commands.encodeAhead} encodes what came next the last time.
 * Where the same comes again, it is submitted as it is. So the device waits for
 * a submit, and not for some hundred kernels to be encoded, 2 to 4 µs each.
 */
import { type GpuCounts, noGpuCounts } from "../../gpu_stats.ts";
import type { Grid } from "../kernels/kernel.ts";
import type { Activity } from "../../trace.ts";
import type { Device } from "./device.ts";
import type { DeviceTrace } from "./device_trace.ts";

/** A kernel to be run. */
export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: Grid;
}

/** Kernels that are encoded already, and how many of them have come. */
interface Ahead {
  readonly dispatches: readonly Dispatch[];
  readonly buffer: GPUCommandBuffer;
  come: number;
}

export class Commands {
  readonly counts: Record<keyof GpuCounts, number> = { ...noGpuCounts };
  /** Records when passes run, in a step that is traced */
  trace?: DeviceTrace;
  /** Whether kernels are left out: of a step whose results are there */
  isIdle = false;
  #encoder?: GPUCommandEncoder;
  #pass?: GPUComputePassEncoder;
  /** What goes before the encoder's */
  readonly #encoded: GPUCommandBuffer[] = [];
  #ahead?: Ahead;
  /** What has come since the last submit */
  #come: Dispatch[] = [];
  /** What came between two submits, of this step, and behind that of the one before; none outside of steps */
  #steps?: Dispatch[][];
  /** Submits of this step */
  #submitted = 0;
  /** Whether what was submitted last came in the step before too */
  #repeats = false;

  constructor(readonly device: Device) {}

  /** Call when a step begins. */
  beginStep(): void {
    this.#steps ??= [];
    this.#steps.length = this.#submitted;
    this.#submitted = 0;
  }

  /** Call before work that is no step. */
  leaveSteps(): void {
    this.#steps = this.#ahead = undefined;
    this.#submitted = 0;
    this.#repeats = false;
  }

  /** The kernels of a step that has submitted nothing. */
  get dispatches(): readonly Dispatch[] {
    return this.#come;
  }

  /** Whether something of this step is submitted. */
  get hasSubmitted(): boolean {
    return this.#submitted > 0;
  }

  dispatch(
    pipeline: GPUComputePipeline,
    group: GPUBindGroup,
    grid: Grid,
  ): void {
    if (this.isIdle) return;
    const dispatch = { pipeline, group, grid };
    this.counts.dispatches++;
    if (this.#steps) this.#come.push(dispatch);
    const ahead = this.#ahead;
    if (
      ahead && !this.trace && isSame(ahead.dispatches[ahead.come], dispatch)
    ) {
      ahead.come++;
      return;
    }
    this.#settleAhead();
    this.#encode(dispatch);
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
    this.#settleAhead();
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
    if (this.#ahead && this.#ahead.come > 0) this.#settleAhead();
    if (this.#encoder) {
      this.#endPass();
      this.#encoded.push(this.#encoder.finish());
      this.#encoder = undefined;
    }
    if (this.#encoded.length === 0) return;
    this.device.gpu.queue.submit(this.#encoded.splice(0));
    this.counts.submits++;
    if (!this.#steps) return;
    const before = this.#steps[this.#submitted];
    this.#repeats = before?.length === this.#come.length &&
      before.every((dispatch, i) => isSame(dispatch, this.#come[i]));
    this.#steps[this.#submitted++] = this.#come;
    this.#come = [];
  }

  /** Encodes what came next the last time, where this step is like that one; call when all is submitted, and results, the device's or others', are waited for. */
  encodeAhead(): void {
    if (!this.#steps || !this.#repeats || this.#ahead || this.trace) return;
    const dispatches = this.#steps[this.#submitted] ?? this.#steps[0];
    for (const dispatch of dispatches) this.#encode(dispatch);
    this.#endPass();
    const buffer = this.#encoder?.finish();
    this.#encoder = undefined;
    if (buffer) this.#ahead = { dispatches, buffer, come: 0 };
  }

  /** Takes what is encoded ahead if all of it has come, else encodes what has. */
  #settleAhead(): void {
    const ahead = this.#ahead;
    if (!ahead) return;
    this.#ahead = undefined;
    if (ahead.come === ahead.dispatches.length) {
      this.#encoded.push(ahead.buffer);
    } else {
      for (const dispatch of ahead.dispatches.slice(0, ahead.come)) {
        this.#encode(dispatch);
      }
    }
  }

  #encode({ pipeline, group, grid }: Dispatch): void {
    this.#encoder ??= this.device.gpu.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass(this.trace?.nextPass());
    this.#pass.setPipeline(pipeline);
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(...grid);
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}

function isSame(a: Dispatch | undefined, b: Dispatch): boolean {
  return a !== undefined && a.pipeline === b.pipeline && a.group === b.group &&
    a.grid[0] === b.grid[0] && a.grid[1] === b.grid[1] &&
    a.grid[2] === b.grid[2];
}
