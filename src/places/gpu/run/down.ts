/**
 * The down matrix of a layer's neurons, in either of its forms.
 *
 * @module
 */
import { addBias, addBiasGrid } from "../kernels/residual.ts";
import {
  downRows,
  downRowsGrid,
  downRowsTiles,
  downRowsVec,
  downRowsVecGrid,
} from "../kernels/neurons.ts";
import type { FeedForwardLayout } from "../memory/layout.ts";
import type { DeviceMatrix } from "../memory/matrix.ts";
import type { KernelContext, TokenRows } from "./context.ts";
import { Product } from "./product.ts";
import type { Residual } from "./residual.ts";

/** Adds Σ h · down to the residual. */
export class Down {
  /** Whether the matrix has a row for each neuron, and only those are read whose h is not zero. */
  readonly byNeuron: boolean;
  readonly #product?: Product;
  /** Where the product does not add it */
  readonly #bias?: GPUBindGroup;
  readonly #pieces: readonly {
    one: { pipeline: GPUComputePipeline; group: GPUBindGroup };
    many: { pipeline: GPUComputePipeline; group: GPUBindGroup };
  }[] = [];

  constructor(
    readonly context: KernelContext,
    readonly matrix: DeviceMatrix,
    { downByNeuron }: Pick<FeedForwardLayout, "downByNeuron">,
    h: TokenRows,
    readonly residual: Pick<
      Residual,
      "buffer" | "stride" | "partials" | "stretchesWait"
    >,
    bias?: GPUBufferBinding,
  ) {
    this.byNeuron = downByNeuron;
    if (!downByNeuron) {
      this.#product = new Product(context, matrix, {
        x: h,
        out: residual,
        bias,
        epilogue: "add",
      });
      return;
    }
    const { pipelines, uniforms, step } = context;
    this.#bias = bias && pipelines.bind(addBias, {
      step,
      params: uniforms.add(addBias, { stride: residual.stride / 4 }),
      bias,
      x: residual.buffer,
    });
    const one = downRowsVec(matrix.type), many = downRows(matrix.type);
    this.#pieces = matrix.pieces.map(({ buffer, first, rows }) => {
      const params = uniforms.add(one, {
        rows,
        first,
        groups: matrix.groups,
        h_stride: h.stride,
        stride: residual.stride / 4,
      });
      const bound = { step, params, matrix: buffer, h: h.buffer };
      const { buffer: x, partials } = residual;
      return {
        one: {
          pipeline: pipelines.get(one),
          group: pipelines.bind(one, { ...bound, x }),
        },
        many: {
          pipeline: pipelines.get(many, { adds: first > 0 }),
          group: pipelines.bind(many, { ...bound, partials }),
        },
      };
    });
  }

  /** Adds to the residual, or lines it up to be added. */
  encode(tokens: number): void {
    const { commands, pipelines } = this.context;
    this.#product?.encode(tokens);
    if (this.#bias) {
      const grid = addBiasGrid(this.residual.stride, tokens);
      commands.dispatch(pipelines.get(addBias), this.#bias, grid);
    }
    const { groups } = this.matrix;
    for (const { one, many } of this.#pieces) {
      if (tokens === 1) {
        commands.dispatch(one.pipeline, one.group, downRowsVecGrid(groups));
      } else {
        const grid = downRowsGrid(groups, tokens);
        commands.dispatch(many.pipeline, many.group, grid);
      }
    }
    if (this.byNeuron && tokens > 1) this.residual.stretchesWait = true;
  }

  /** Whether all rows are read in a step of `tokens` tokens, whatever h is. */
  streams(tokens: number): boolean {
    return !this.byNeuron || tokens > 1;
  }

  /** Bytes of weights that a step of `tokens` tokens reads, at most. */
  bytes(tokens: number): number {
    return this.#product?.bytes(tokens) ??
      this.matrix.byteLength * downRowsTiles(tokens);
  }
}
