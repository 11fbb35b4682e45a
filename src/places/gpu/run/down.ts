/**
 * The down matrix of a layer's neurons, in either of its forms.
 *
 * @module
 */
import type { Commands } from "../device/commands.ts";
import { type FeedForwardLayout, stretchesFor } from "../memory/layout.ts";
import type { DeviceMatrix } from "../memory/matrix.ts";
import { Product, type Shared, type TokenRows } from "./product.ts";
import type { Residual } from "./residual.ts";

/** Tokens of a workgroup where there are several. */
const tileTokens = 8;

/** Units of a group of columns: each has a workgroup where there is one token. */
const groupLanes = 8;

/** Adds Σ h · down to the residual. */
export class Down {
  /** Whether the matrix has a row for each neuron, and only those are read whose h is not zero. */
  readonly byNeuron: boolean;
  readonly #product?: Product;
  readonly #pieces: readonly {
    one: { pipeline: GPUComputePipeline; group: GPUBindGroup };
    many: { pipeline: GPUComputePipeline; group: GPUBindGroup };
  }[] = [];

  constructor(
    shared: Shared,
    readonly matrix: DeviceMatrix,
    { downByNeuron }: Pick<FeedForwardLayout, "downByNeuron">,
    h: TokenRows,
    readonly residual: Pick<
      Residual,
      "buffer" | "stride" | "partials" | "stretchesWait"
    >,
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
      const { type } = matrix;
      const adds = first > 0 ? 1 : 0;
      const bound = (to: GPUBuffer) =>
        pipelines.bind("down_rows", [step, shape, buffer, h.buffer, to]);
      return {
        one: {
          pipeline: pipelines.get({ kernel: "down_rows_vec", type }),
          group: bound(residual.buffer),
        },
        many: {
          pipeline: pipelines.get({ kernel: "down_rows", type }, { adds }),
          group: bound(residual.partials),
        },
      };
    });
  }

  /** Adds to the residual, or lines it up to be added. */
  encode(commands: Commands, tokens: number): void {
    this.#product?.encode(commands, tokens);
    const { groups } = this.matrix;
    for (const { one, many } of this.#pieces) {
      if (tokens === 1) {
        commands.dispatch(one.pipeline, one.group, groupLanes * groups);
      } else {
        commands.dispatch(
          many.pipeline,
          many.group,
          groups,
          stretchesFor(tokens),
          Math.ceil(tokens / tileTokens),
        );
      }
    }
    if (this.byNeuron && tokens > 1) this.residual.stretchesWait();
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
