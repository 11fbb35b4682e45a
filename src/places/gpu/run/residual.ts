/**
 * The residual stream on the device, `[tokens, stride]`, and what is added to it.
 *
 * @module
 */
import type { Model } from "../../../model/model.ts";
import { copyRows } from "../../batch.ts";
import type { Commands } from "../device/commands.ts";
import type { DeviceLayout } from "../memory/layout.ts";
import type { Shared, TokenRows } from "./product.ts";
import type { Region } from "./read_back.ts";

/** Vectors of x that a workgroup of `add_partials` has. */
const adderVectors = 16;

/** x, and the slots whose sums wait to be added. */
export class Residual implements TokenRows {
  readonly buffer: GPUBuffer;
  readonly stride: number;
  /** Slot 0: what other places computed; further ones: stretches of this place's neurons */
  readonly partials: GPUBuffer;
  readonly #group: GPUBindGroup;
  readonly #addUpload: GPUComputePipeline;
  readonly #addStretches: GPUComputePipeline;
  readonly #addBoth: GPUComputePipeline;
  readonly #hiddenSize: number;
  /** Rows of this stride on their way to the device */
  readonly #host: Float32Array<ArrayBuffer>;
  /** `[tokens, hiddenSize]`, from the device */
  readonly #taken: Float32Array<ArrayBuffer>;
  #stretchesWait = false;

  constructor(
    { buffers, pipelines, uniforms, step }: Shared,
    readonly commands: Commands,
    { hiddenSize }: Model,
    { strides, bytes }: DeviceLayout,
  ) {
    this.stride = strides.hidden;
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    this.buffer = buffers.make("x", bytes.x, STORAGE | COPY_DST | COPY_SRC);
    this.partials = buffers.make(
      "partials",
      bytes.partials,
      STORAGE | COPY_DST,
    );
    this.#host = new Float32Array(bytes.x / 4);
    this.#hiddenSize = hiddenSize;
    this.#taken = new Float32Array(bytes.x / 4 / this.stride * hiddenSize);
    const shape = uniforms.add([this.stride / 4]);
    this.#group = pipelines.bind("add_partials", [
      step,
      shape,
      this.partials,
      this.buffer,
    ]);
    const adder = (with_upload: number, with_stretches: number) =>
      pipelines.get({ kernel: "add_partials" }, {
        with_upload,
        with_stretches,
      });
    this.#addUpload = adder(1, 0);
    this.#addStretches = adder(0, 1);
    this.#addBoth = adder(1, 1);
  }

  /** Forgets what waits: x is begun anew. */
  clear(): void {
    this.#stretchesWait = false;
  }

  /** x := rows, `[tokens]` of any stride. */
  set(rows: Float32Array, tokens: number): void {
    this.clear();
    this.#upload(rows, tokens, this.buffer);
  }

  /** x += rows, and the stretches that wait. */
  add(rows: Float32Array, tokens: number): void {
    this.#upload(rows, tokens, this.partials);
    this.#encode(this.#stretchesWait ? this.#addBoth : this.#addUpload, tokens);
  }

  /** Says that the stretches of this place's neurons lie in their slots. */
  stretchesWait(): void {
    this.#stretchesWait = true;
  }

  /** Adds what waits; call before x is read. */
  settle(tokens: number): void {
    if (this.#stretchesWait) this.#encode(this.#addStretches, tokens);
  }

  /** The rows of the first tokens. */
  region(tokens: number): Region {
    return { buffer: this.buffer, bytes: 4 * tokens * this.stride };
  }

  /** Takes what was read of them; gives `[tokens, hiddenSize]`, valid until the next time. */
  take(rows: Float32Array, tokens: number): Float32Array {
    const from = rows.subarray(0, tokens * this.stride);
    const taken = this.#taken.subarray(0, tokens * this.#hiddenSize);
    copyRows(from, taken, tokens, this.#hiddenSize);
    return taken;
  }

  #encode(adder: GPUComputePipeline, tokens: number): void {
    const quads = tokens * this.stride / 4;
    this.commands.dispatch(adder, this.#group, Math.ceil(quads / adderVectors));
    this.clear();
  }

  #upload(rows: Float32Array, tokens: number, to: GPUBuffer): void {
    const host = this.#host.subarray(0, tokens * this.stride);
    copyRows(rows, host, tokens, this.#hiddenSize);
    this.commands.write(to, this.#host.buffer, host.byteLength);
  }
}
