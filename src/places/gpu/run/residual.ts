/**
 * The residual stream on the device, `[tokens, stride]`, and what is added to it.
 * It lies there divided by the model's `residualScale`, so that no sum has to be
 * multiplied by that; norms take no notice, with an epsilon that is divided too.
 */
import { copyRows } from "../../batch.ts";
import { addPartials, addPartialsGrid } from "../kernels/residual.ts";
import type { TokenRows } from "../memory/buffers.ts";
import type { PlaceContext } from "./context.ts";
import { Norm, type Segments } from "./norm.ts";
import type { ProductOptions } from "./product.ts";
import type { Region } from "./read_back.ts";

/** Where a layer's half adds what it computes: x, or a term that is normed before x gets it. */
export interface Half {
  readonly out: TokenRows;
  readonly norm?: Norm;
}

/** How products read x. */
export interface NormedInput {
  /** What they read, and how they norm or scale it */
  readonly read: Pick<ProductOptions, "x" | "norm" | "factor">;
  /** Makes it ready to be read by so many tokens' products */
  encode(tokens: number): void;
}

/** x, and the slots whose sums wait to be added. */
export class Residual implements TokenRows {
  readonly buffer: GPUBuffer;
  readonly stride: number;
  /** Slot 0: what other places computed; further ones: stretches of this place's neurons */
  readonly partials: GPUBuffer;
  readonly #group: GPUBindGroup;
  /** What is normed before x gets it: zeros when a half begins */
  readonly #term?: { readonly rows: TokenRows; readonly group: GPUBindGroup };
  /** x around its mean */
  readonly #centred?: TokenRows;
  /** The norm that waits to read the term */
  #waiting?: Norm;
  readonly #addUpload: GPUComputePipeline;
  readonly #addStretches: GPUComputePipeline;
  readonly #addBoth: GPUComputePipeline;
  readonly #hiddenSize: number;
  /** What x on the device is multiplied by */
  readonly #scale: number;
  readonly #epsilon: number;
  /** Rows of this stride on their way to the device */
  readonly #host: Float32Array<ArrayBuffer>;
  /** `[tokens, hiddenSize]`, from the device */
  readonly #taken: Float32Array<ArrayBuffer>;
  /** Whether the sums of this place's stretches, which lie in their slots, wait to be added */
  stretchesWait = false;
  /** Whether x has nothing yet but rows of the embedding */
  #isEmbedding = false;

  constructor(
    readonly context: Omit<PlaceContext, "counts" | "weights">,
  ) {
    const { buffers, pipelines, uniforms, step, options, layout } = context;
    const { model: { hiddenSize, residualScale, normEpsilon } } = options;
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
    this.#scale = residualScale;
    this.#epsilon = normEpsilon / residualScale ** 2;
    this.#taken = new Float32Array(bytes.x / 4 / this.stride * hiddenSize);
    const params = uniforms.add(addPartials, { stride: this.stride / 4 });
    const groupOf = (x: GPUBuffer) =>
      pipelines.bind(addPartials, { step, params, partials: this.partials, x });
    this.#group = groupOf(this.buffer);
    if (bytes.term > 0) {
      const rows = buffers.rows("term", bytes.term, this.stride);
      this.#term = { rows, group: groupOf(rows.buffer) };
    }
    if (bytes.centred > 0) {
      this.#centred = buffers.rows("centred", bytes.centred, this.stride);
    }
    const adder = (with_upload: boolean, with_stretches: boolean) =>
      pipelines.get(addPartials, { with_upload, with_stretches });
    this.#addUpload = adder(true, false);
    this.#addStretches = adder(false, true);
    this.#addBoth = adder(true, true);
  }

  /** x normed by `weight`, or as it is where there is none. Products norm it by its root mean square as they read it; a kernel before them does around its mean. */
  normed(weight?: GPUBufferBinding, bias?: GPUBufferBinding): NormedInput {
    const epsilon = this.#epsilon;
    const out = this.#centred;
    if (!weight || !out) {
      return {
        read: weight
          ? { x: this, norm: { weight, epsilon } }
          : { x: this, factor: this.#scale },
        encode: (tokens) => this.settle(tokens),
      };
    }
    const norm = new Norm(this.context, {
      x: this,
      segments: this.#segments,
      weight,
      bias,
      epsilon,
      isCentred: true,
      out,
    });
    return {
      read: { x: out },
      encode: (tokens) => {
        this.settle(tokens);
        norm.encode(tokens);
      },
    };
  }

  /** A layer's half, whose sum is normed by `weight` where there is one. */
  half(weight?: GPUBufferBinding): Half {
    if (!weight) return { out: this };
    const { norm, normEpsilon } = this.context.options.model;
    const { rows } = this.#term!;
    return {
      out: rows,
      norm: new Norm(this.context, {
        x: rows,
        segments: this.#segments,
        weight,
        epsilon: normEpsilon,
        isCentred: norm === "layer",
        out: this,
        adds: true,
      }),
    };
  }

  /** Call when a half has added what it computed; others may have something to add to it. */
  added({ norm }: Half): void {
    this.#waiting = norm;
  }

  /** Call before rows of the embedding are written to x. */
  beginEmbedding(): void {
    this.stretchesWait = false;
    this.#isEmbedding = true;
  }

  /** x := rows, `[tokens]` of any stride. */
  set(rows: Float32Array, tokens: number): void {
    this.stretchesWait = false;
    this.#isEmbedding = false;
    this.#upload(rows, tokens, this.buffer, 1 / this.#scale);
  }

  /** x += rows of the embedding, or what a layer's half adds before it is scaled, and the stretches that wait. */
  add(rows: Float32Array, tokens: number): void {
    const factor = this.#isEmbedding ? 1 / this.#scale : 1;
    this.#upload(rows, tokens, this.partials, factor);
    this.#encode(this.stretchesWait ? this.#addBoth : this.#addUpload, tokens);
    this.#normTerm(tokens);
  }

  /** Adds what waits; call before x is read. */
  settle(tokens: number): void {
    this.#isEmbedding = false;
    if (this.stretchesWait) this.#encode(this.#addStretches, tokens);
    this.#normTerm(tokens);
  }

  region(tokens: number): Region {
    return { buffer: this.buffer, bytes: 4 * tokens * this.stride };
  }

  /** Takes what was read of them; gives `[tokens, hiddenSize]`, valid until the next time. */
  take(rows: Float32Array, tokens: number): Float32Array {
    const from = rows.subarray(0, tokens * this.stride);
    const taken = this.#taken.subarray(0, tokens * this.#hiddenSize);
    copyRows(from, taken, tokens, this.#hiddenSize);
    scale(taken, this.#scale);
    return taken;
  }

  #encode(adder: GPUComputePipeline, tokens: number): void {
    const grid = addPartialsGrid(tokens * this.stride);
    const group = this.#waiting ? this.#term!.group : this.#group;
    this.context.commands.dispatch(adder, group, grid);
    this.stretchesWait = false;
  }

  #normTerm(tokens: number): void {
    this.#waiting?.encode(tokens);
    this.#waiting = undefined;
  }

  get #segments(): [Segments] {
    return [{ first: 0, size: this.#hiddenSize, count: 1 }];
  }

  #upload(
    rows: Float32Array,
    tokens: number,
    to: GPUBuffer,
    factor: number,
  ): void {
    const host = this.#host.subarray(0, tokens * this.stride);
    copyRows(rows, host, tokens, this.#hiddenSize);
    scale(host, factor);
    this.context.commands.write(to, this.#host.buffer, host.byteLength);
  }
}

function scale(values: Float32Array, factor: number): void {
  if (factor === 1) return;
  for (let i = 0; i < values.length; i++) values[i] *= factor;
}
