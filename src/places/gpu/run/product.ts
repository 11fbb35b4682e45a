/**
 * Products of a matrix with the tokens' vectors.
 *
 * @module
 */
import type { Commands } from "../device/commands.ts";
import type { Buffers } from "../memory/buffers.ts";
import { type DeviceMatrix, rowsAtOnce } from "../memory/matrix.ts";
import type { Bound, Constants, Pipelines } from "../device/pipelines.ts";
import type { Uniforms } from "../memory/uniforms.ts";

/** Rows of numbers on the device, one for each token. */
export interface TokenRows {
  readonly buffer: GPUBuffer;
  /** f32 numbers from one token to the next, a multiple of 256 where a product reads them */
  readonly stride: number;
}

/** The epilogues of the kernels, by the numbers that they know them by. */
const epilogues = {
  store: 0,
  add: 1,
  relu: 2,
  drelu: 3,
  reglu: 4,
  swiglu: 5,
} as const;

/** The questions of the kernels, by number. */
const questions = { positive: 1, threshold: 2 } as const;

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
  /** Rows are computed where these are above zero, or at least `threshold`; laid out as `out` */
  readonly asked?: { readonly rows: GPUBuffer; readonly threshold?: number };
  /** What becomes of a result; it is stored where left out */
  readonly epilogue?: keyof typeof epilogues;
  /** g of the epilogue, laid out as `out`, where no rows are asked */
  readonly gate?: GPUBuffer;
  /** Whether x is read for the tokens that want logits */
  readonly gathered?: boolean;
  /** Where the layer's counters are; 0 where left out */
  readonly counter?: number;
}

/** What all kernels of a place are bound to. */
export interface Shared {
  readonly buffers: Buffers;
  readonly pipelines: Pipelines;
  readonly uniforms: Uniforms;
  readonly step: GPUBuffer;
  readonly counters: GPUBuffer;
}

/**
 * A workgroup's invocations, and the rows that each has: several in long
 * stretches of rows, for all of which x is read once; one of rows that are asked
 * one by one.
 */
const workgroups = {
  all: { lanes: 32, rows: 4, rows_each: rowsAtOnce },
  asked: { lanes: 32, rows: 8, rows_each: 1 },
} as const;

/** Rows of a tile of the product of several tokens. */
const tileRows = 64;

/** Tokens of a tile, of a few tokens or of many. */
const fewTokens = 8, manyTokens = 32;

/** Tokens of the tiles that so many are cut into. */
function tileTokens(tokens: number): number {
  return tokens > fewTokens ? manyTokens : fewTokens;
}

/** A matrix, or several that lie in one buffer, bound to what they are multiplied with. */
export class Product {
  /** Of each piece; `rows` are those of its results */
  readonly #pieces: readonly { rows: number; group: GPUBindGroup }[];
  readonly #one: GPUComputePipeline;
  readonly #few: GPUComputePipeline;
  readonly #many: GPUComputePipeline;
  readonly #rowsOfOne: number;

  constructor(
    { pipelines, uniforms, step, counters }: Shared,
    readonly matrix: DeviceMatrix,
    options: ProductOptions,
    /** Up to two whose rows follow in the same buffer, of other types */
    readonly others: readonly DeviceMatrix[] = [],
  ) {
    const { x, out, norm, asked } = options;
    let rows = matrix.rows;
    // A number among all rows, and what is added to it for one among rows of its type.
    const behind = others.flatMap((other) => {
      const first = rows;
      rows += other.rows;
      return [first, other.pieces[0].base - first];
    });
    const paddedRows = options.paddedRows ?? rows;
    this.#pieces = matrix.pieces.map((piece) => {
      const isLast = piece.first + piece.rows === matrix.rows;
      const results = isLast ? paddedRows - piece.first : piece.rows;
      const shape = uniforms.add([
        isLast ? rows - piece.first : piece.rows,
        matrix.groups,
        x.stride / 4,
        out.stride,
        (options.outFirst ?? 0) + piece.first,
        results,
        matrix.columns,
        { f32: norm?.epsilon ?? 1 },
        { f32: asked?.threshold ?? 0 },
        options.counter ?? 0,
        ...behind,
        ...new Array(4 - behind.length).fill(0),
      ]);
      // What a kernel has no use for is bound to x, which it reads anyway.
      const group = pipelines.bind("mul_mat", [
        step,
        shape,
        piece.buffer,
        x.buffer,
        norm?.weight ?? x.buffer,
        asked?.rows ?? options.gate ?? x.buffer,
        out.buffer,
        counters,
      ]);
      return { rows: results, group };
    });
    const constants: Constants = {
      normed: norm ? 1 : 0,
      gathered: options.gathered ? 1 : 0,
      ask: !asked
        ? 0
        : questions[asked.threshold === undefined ? "positive" : "threshold"],
      epilogue: epilogues[options.epilogue ?? "store"],
    };
    const workgroup = workgroups[asked ? "asked" : "all"];
    this.#rowsOfOne = workgroup.rows * workgroup.rows_each;
    const types = [matrix, ...others].map(({ type }) => type);
    this.#one = pipelines.get({ kernel: "mul_mat_vec", types }, {
      ...constants,
      ...workgroup,
    });
    const tiles = { kernel: "mul_mat", types } as const;
    this.#few = pipelines.get(tiles, { ...constants, few: 1 });
    this.#many = pipelines.get(tiles, { ...constants, few: 0 });
  }

  /** Multiplies with `tokens` vectors. */
  encode(commands: Commands, tokens: number): void {
    const tile = tileTokens(tokens);
    for (const { rows, group } of this.#pieces) {
      if (tokens === 1) {
        commands.dispatch(this.#one, group, Math.ceil(rows / this.#rowsOfOne));
      } else {
        commands.dispatch(
          tile === fewTokens ? this.#few : this.#many,
          group,
          Math.ceil(rows / tileRows),
          Math.ceil(tokens / tile),
        );
      }
    }
  }

  /** Bytes of weights that a product with `tokens` vectors reads, where no rows are asked. */
  bytes(tokens: number): number {
    const once = [this.matrix, ...this.others]
      .reduce((sum, { byteLength }) => sum + byteLength, 0);
    return once * Math.ceil(tokens / tileTokens(tokens));
  }
}
