/** Products of a matrix with the tokens' vectors. */
import type { TokenRows } from "../memory/buffers.ts";
import type { DeviceMatrix } from "../memory/matrix.ts";
import type { Bound } from "../device/device.ts";
import {
  epilogues,
  hasFew,
  masks,
  mulMat,
  mulMatGrid,
  mulMatVec,
  mulMatVecGrid,
  tileCount,
  workgroups,
} from "../kernels/products.ts";
import type { KernelContext } from "./context.ts";

/** What a product does beside multiplying. */
export interface ProductOptions {
  readonly x: TokenRows;
  readonly out: TokenRows;
  /** The column of `out` where the first row's result goes; 0 where left out */
  readonly outFirst?: number;
  /** Results up to this row are set to zero; none where left out */
  readonly paddedRows?: number;
  /** Weights of an RMS norm of x, and what it needs to know */
  readonly norm?: {
    readonly weight: Bound;
    readonly epsilon: number;
  };
  /** Added to the results; laid out as a token's `out` */
  readonly bias?: Bound;
  /** Rows are computed where their scores are positive, or at least `threshold`; laid out as `out` */
  readonly mask?: { readonly scores: GPUBuffer; readonly threshold?: number };
  /** What products are multiplied by before their bias is added; 1 where left out */
  readonly factor?: number;
  /** Results z become cap · tanh(z / cap), after that */
  readonly cap?: number;
  /** What becomes of a result; it is stored where left out */
  readonly epilogue?: keyof typeof epilogues;
  /** g of the epilogue, laid out as `out`; where left out g is the result, and u is 1 */
  readonly gate?: GPUBuffer;
  /** Gates up to this count as 0, which it is where left out */
  readonly gateThreshold?: number;
  /** Whether x is read for the tokens that want logits */
  readonly gathered?: boolean;
  /** Where the layer's counters are; 0 where left out */
  readonly counter?: number;
}

/** A matrix, or several that lie in one buffer, bound to what they are multiplied with. */
export class Product {
  /** Of each piece; `rows` are those of its results */
  readonly #pieces: readonly { rows: number; group: GPUBindGroup }[];
  readonly #one: GPUComputePipeline;
  readonly #few: GPUComputePipeline;
  readonly #many: GPUComputePipeline;
  readonly #workgroup: keyof typeof workgroups;

  constructor(
    readonly context: KernelContext,
    readonly matrix: DeviceMatrix,
    options: ProductOptions,
    /** Up to two whose rows follow in the same buffer, of other types */
    readonly others: readonly DeviceMatrix[] = [],
  ) {
    const { pipelines, uniforms, step, counters } = context;
    const { x, out, norm, bias, mask } = options;
    let rows = matrix.rows;
    // A number among all rows, and what is added to it for one among rows of its type.
    const [second, third] = others.map((other) => {
      const row = rows;
      rows += other.rows;
      return { row, shift: other.pieces[0].base - row };
    });
    const types = [matrix, ...others].map(({ type }) => type);
    const one = mulMatVec(types, pipelines.subgroups), tiles = mulMat(types);
    const paddedRows = options.paddedRows ?? rows;
    this.#pieces = matrix.pieces.map((piece) => {
      const isLast = piece.first + piece.rows === matrix.rows;
      const results = isLast ? paddedRows - piece.first : piece.rows;
      const params = uniforms.add(one, {
        rows: isLast ? rows - piece.first : piece.rows,
        groups: matrix.groups,
        x_stride: x.stride / 4,
        out_stride: out.stride,
        out_first: (options.outFirst ?? 0) + piece.first,
        padded_rows: results,
        columns: matrix.columns,
        epsilon: norm?.epsilon ?? 1,
        threshold: mask?.threshold ?? 0,
        gate_threshold: options.gateThreshold ?? 0,
        factor: options.factor ?? 1,
        cap: options.cap ?? 0,
        counter: options.counter ?? 0,
        second_row: second?.row ?? 0,
        second_shift: second?.shift ?? 0,
        third_row: third?.row ?? 0,
        third_shift: third?.shift ?? 0,
      });
      // Bindings that a kernel does not use are bound to x, which it reads anyway.
      const group = pipelines.bind(one, {
        step,
        params,
        matrix: piece.buffer,
        x: x.buffer,
        norm: norm?.weight ?? x.buffer,
        scores: mask?.scores ?? options.gate ?? x.buffer,
        bias: bias ?? x.buffer,
        out: out.buffer,
        counters,
      });
      return { rows: results, group };
    });
    const overrides = {
      normed: norm !== undefined,
      biased: bias !== undefined,
      scaled: (options.factor ?? 1) !== 1,
      capped: options.cap !== undefined,
      gated: options.gate !== undefined,
      gathered: options.gathered ?? false,
      mask: masks[
        !mask ? "all" : mask.threshold === undefined ? "positive" : "threshold"
      ],
      epilogue: epilogues[options.epilogue ?? "store"],
    };
    this.#workgroup = mask ? "masked" : "all";
    this.#one = pipelines.get(one, {
      ...overrides,
      ...workgroups[this.#workgroup],
    });
    this.#few = pipelines.get(tiles, { ...overrides, few: true });
    this.#many = pipelines.get(tiles, { ...overrides, few: false });
  }

  encode(tokens: number): void {
    const { commands } = this.context;
    for (const { rows, group } of this.#pieces) {
      if (tokens === 1) {
        const grid = mulMatVecGrid(rows, this.#workgroup);
        commands.dispatch(this.#one, group, grid);
      } else {
        const pipeline = hasFew(tokens) ? this.#few : this.#many;
        commands.dispatch(pipeline, group, mulMatGrid(rows, tokens));
      }
    }
  }

  /** Bytes of weights that a product with `tokens` vectors reads, where no mask leaves some out. */
  bytes(tokens: number): number {
    const once = [this.matrix, ...this.others]
      .reduce((sum, { byteLength }) => sum + byteLength, 0);
    return once * tileCount(tokens);
  }
}
