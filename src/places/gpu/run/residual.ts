/** The residual stream on the device, `[tokens, stride]`, and what is added to it. */
import { copyRows } from "../../batch.ts";
import { addPartials, addPartialsGrid } from "../kernels/residual.ts";
import type { TokenRows } from "../memory/buffers.ts";
import type { PlaceContext } from "./context.ts";
import type { Region } from "./read_back.ts";

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
  /** Whether the sums of this place's stretches, which lie in their slots, wait to be added */
  stretchesWait = false;

  constructor(
    readonly context: Omit<PlaceContext, "counts" | "weights">,
  ) {
    const { buffers, pipelines, uniforms, step, options, layout } = context;
    const { model: { hiddenSize } } = options;
    const { strides, bytes } = layout;
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
    this.#group = pipelines.bind(addPartials, {
      step,
      params: uniforms.add(addPartials, { stride: this.stride / 4 }),
      partials: this.partials,
      x: this.buffer,
    });
    const adder = (with_upload: boolean, with_stretches: boolean) =>
      pipelines.get(addPartials, { with_upload, with_stretches });
    this.#addUpload = adder(true, false);
    this.#addStretches = adder(false, true);
    this.#addBoth = adder(true, true);
  }

  /** x := rows, `[tokens]` of any stride. */
  set(rows: Float32Array, tokens: number): void {
    this.stretchesWait = false;
    this.#upload(rows, tokens, this.buffer);
  }

  /** x += rows, and the stretches that wait. */
  add(rows: Float32Array, tokens: number): void {
    this.#upload(rows, tokens, this.partials);
    this.#encode(this.stretchesWait ? this.#addBoth : this.#addUpload, tokens);
  }

  /** Adds what waits; call before x is read. */
  settle(tokens: number): void {
    if (this.stretchesWait) this.#encode(this.#addStretches, tokens);
  }

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
    const grid = addPartialsGrid(tokens * this.stride);
    this.context.commands.dispatch(adder, this.#group, grid);
    this.stretchesWait = false;
  }

  #upload(rows: Float32Array, tokens: number, to: GPUBuffer): void {
    const host = this.#host.subarray(0, tokens * this.stride);
    copyRows(rows, host, tokens, this.#hiddenSize);
    this.context.commands.write(to, this.#host.buffer, host.byteLength);
  }
}
