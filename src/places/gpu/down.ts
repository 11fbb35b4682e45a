/**
 * The down matrix of a layer's neurons, in either of its forms.
 *
 * @module
 */
import type { Commands } from "./commands.ts";
import { type FeedForwardLayout, stretchesFor } from "./layout.ts";
import type { DeviceMatrix } from "./matrix.ts";
import { Product, type Shared, type TokenRows } from "./product.ts";
import type { Residual } from "./residual.ts";

/** Tokens of a workgroup where there are several. */
const tileTokens = 8;

/** Adds Σ h · down to the residual. */
export class Down {
  /** Whether the matrix has a row for each neuron, and only those are read whose h is not zero. */
  readonly byNeuron: boolean;
  readonly #product?: Product;
  readonly #pieces: readonly {
    group: GPUBindGroup;
    one: GPUComputePipeline;
    many: GPUComputePipeline;
  }[] = [];

  constructor(
    shared: Shared,
    readonly matrix: DeviceMatrix,
    { downByNeuron }: FeedForwardLayout,
    h: TokenRows,
    readonly residual: Residual,
  ) {
    this.byNeuron = downByNeuron;
    if (!downByNeuron) {
      this.#product = new Product(shared, matrix, {
        x: h,
        out: residual,
        epilogue: "add",
      });
      return;
    }
    const { pipelines, uniforms, step } = shared;
    this.#pieces = matrix.pieces.map(({ buffer, first, rows }) => {
      const shape = uniforms.add([
        rows,
        first,
        matrix.groups,
        h.stride,
        residual.stride / 4,
      ]);
      const kernel = { kernel: "down_rows", type: matrix.type } as const;
      const adds = first > 0 ? 1 : 0;
      return {
        group: pipelines.bind("down_rows", [
          step,
          shape,
          buffer,
          h.buffer,
          residual.partials,
        ]),
        one: pipelines.get(kernel, { tokens: 1, adds }),
        many: pipelines.get(kernel, { tokens: tileTokens, adds }),
      };
    });
  }

  /** Adds to the residual, or lines it up to be added. */
  encode(commands: Commands, tokens: number): void {
    this.#product?.encode(commands, tokens);
    for (const { group, one, many } of this.#pieces) {
      commands.dispatch(
        tokens === 1 ? one : many,
        group,
        this.matrix.groups,
        stretchesFor(tokens),
        tokens === 1 ? 1 : Math.ceil(tokens / tileTokens),
      );
    }
    if (this.byNeuron) this.residual.stretchesWait();
  }

  /** Whether all rows are read in a step of `tokens` tokens, whatever h is. */
  streams(tokens: number): boolean {
    return !this.byNeuron || tokens > 1;
  }

  /** Bytes of weights that a step of `tokens` tokens reads, at most. */
  bytes(tokens: number): number {
    return this.#product?.bytes(tokens) ??
      this.matrix.byteLength * Math.ceil(tokens / tileTokens);
  }
}
