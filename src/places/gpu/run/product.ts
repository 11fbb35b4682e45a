/** Products of a matrix with the tokens' vectors. */
import type { TokenRows } from "../memory/buffers.ts";
import type { DeviceMatrix, Piece } from "../memory/matrix.ts";
import type { Bound, Pipelines } from "../device/device.ts";
import {
  columnCounts,
  epilogues,
  fewTokens,
  laneUnits,
  masks,
  mulMat,
  mulMatGrid,
  mulMatQ,
  mulMatVec,
  mulMatVecGrid,
  mulMatVecQ,
  product,
  routes,
  tileCount,
  tileCounters,
  workgroups,
} from "../kernels/products.ts";
import type { expertParams } from "../kernels/experts.ts";
import type { Grid, OverridesOf, ParamsOf } from "../kernels/kernel.ts";
import { areIntegers, type PackedType } from "../kernels/weights.ts";
import type { KernelContext } from "./context.ts";

/** How tokens choose among the experts of a layer. */
export interface Experts {
  /** How many have rows here: those that the device numbers first */
  readonly count: number;
  /** How many a token chooses */
  readonly used: number;
  /** Where a token's record has those */
  readonly routes: number;
}

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
  /** Rows of up, behind those of gate in the same buffer: a result is of a neuron, from a row of each */
  readonly up?: DeviceMatrix;
  /** Where the biases of up begin, behind those of gate; at `paddedRows` where left out */
  readonly upBias?: number;
  /**
   * Where rows are of several experts: whether results, `[tokens][used]`, are of
   * each that a token chose, or, `[tokens]`, the sums over these. x is of choices,
   * `[tokens][used]`, or for results of each perhaps of tokens.
   */
  readonly experts?: Experts & {
    readonly results: "each" | "sum";
    readonly reads: "tokens" | "choices";
  };
  /** Whether steps of one token, or of several, are all that it is for; it is for both where left out */
  readonly serves?: "one" | "several";
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
  /** The first that serves so many tokens is used */
  readonly #variants: readonly Variant[];
  /** Rows that a result is made of */
  readonly #rowsEach: number;
  readonly #bytes: number;
  readonly #experts?: ProductOptions["experts"];

  constructor(
    readonly context: KernelContext,
    readonly matrix: DeviceMatrix,
    options: ProductOptions,
    /** Up to two whose rows follow in the same buffer, of other types */
    others: readonly DeviceMatrix[] = [],
  ) {
    const { pipelines, uniforms, step, counters } = context;
    const { x, out, norm, bias, mask, up, experts } = options;
    this.#experts = experts;
    const matrices = up ? [matrix, up] : [matrix, ...others];
    this.#rowsEach = up ? 2 : 1;
    this.#bytes = matrices
      .reduce((sum, { byteLength }) => sum + byteLength, 0);
    let rows = matrix.rows;
    // A number among all rows, and what is added to it for one among rows of its type.
    const [second, third] = others.map((other) => {
      const row = rows;
      rows += other.rows;
      return { row, shift: other.pieces[0].base - row };
    });
    const types = [matrix, ...others].map(({ type }) => type);
    const expertRows = experts && matrix.rows / experts.count;
    const paddedRows = options.paddedRows ?? expertRows ?? rows;
    this.#pieces = matrix.pieces.map((piece) => {
      const isLast = piece.first + piece.rows === matrix.rows;
      const first = experts ? 0 : piece.first;
      const results = isLast || experts ? paddedRows - first : piece.rows;
      const params = uniforms.add(product, {
        rows: expertRows ?? (isLast ? rows - first : piece.rows),
        groups: matrix.groups,
        x_stride: x.stride / 4,
        out_stride: out.stride,
        out_first: (options.outFirst ?? 0) + first,
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
        up_first: up?.pieces[0].base ?? 0,
        up_bias: options.upBias ?? paddedRows,
        ...expertParamsOf(experts, piece, expertRows),
        x_slots: experts?.reads === "tokens" ? experts.used : 1,
      });
      // Bindings that a kernel does not use are bound to x, which it reads anyway.
      const group = pipelines.bind(product, {
        step,
        params,
        matrix: matrices.length > 1 ? piece.buffer : matrix.boundAlone(piece),
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
      paired: up !== undefined,
      gathered: options.gathered ?? false,
      route: routes[experts?.results ?? "none"],
      mask: masks[
        !mask ? "all" : mask.threshold === undefined ? "positive" : "threshold"
      ],
      epilogue: epilogues[options.epilogue ?? "store"],
    };
    const variants = areIntegers(types)
      ? integerVariants(pipelines, types, overrides, matrix.groups)
      : floatVariants(pipelines, types, overrides);
    this.#variants = experts ? [{ ...variants[0], most: Infinity }] : variants;
    // Those for a token and for a prompt; others are compiled when they are first used.
    const { serves } = options;
    for (const i of serves === "one" ? [0] : serves ? [-1] : [0, -1]) {
      const variant = this.#variants.at(i)!;
      variant.pipeline = variant.compile();
    }
  }

  encode(tokens: number): void {
    const variant = this.#variants.find(({ most }) => tokens <= most)!;
    const pipeline = variant.pipeline ??= variant.compile();
    const { results, used = 1 } = this.#experts ?? {};
    const count = results === "each" ? tokens * used : tokens;
    for (const { rows, group } of this.#pieces) {
      const grid = variant.gridOf(this.#rowsEach * rows, count);
      this.context.commands.dispatch(pipeline, group, grid);
    }
  }

  /** Bytes of weights that a product with `tokens` vectors, or with so many choices of experts, reads, where no mask leaves some out. */
  bytes(tokens: number, choices?: number): number {
    if (!this.#experts) return this.#bytes * tileCount(tokens);
    const { used, count } = this.#experts;
    return this.#bytes * (choices ?? tokens * used) / count;
  }
}

/** What kernels know of the experts whose rows a piece of a matrix has, `expertRows` of each. */
export function expertParamsOf(
  experts: Experts | undefined,
  { first, rows }: Piece,
  expertRows = rows,
): ParamsOf<{ params: typeof expertParams }> {
  return {
    slots: experts?.used ?? 1,
    routes: experts?.routes ?? 0,
    expert_first: experts ? first / expertRows : 0,
    expert_count: rows / expertRows,
  };
}

/** A product's kernel for up to `most` tokens. */
interface Variant {
  readonly most: number;
  readonly compile: () => GPUComputePipeline;
  pipeline?: GPUComputePipeline;
  readonly gridOf: (rows: number, tokens: number) => Grid;
}

type Overrides = OverridesOf<typeof product>;

/** Whether kernels of one token leave out rows that a mask does; not of neurons, two of which are read together. */
function skipsRows({ mask, paired }: Overrides): boolean {
  return mask !== masks.all && !paired;
}

function floatVariants(
  pipelines: Pipelines,
  types: readonly PackedType[],
  overrides: Overrides,
): Variant[] {
  const tiles = mulMat(types);
  const workgroup = skipsRows(overrides) ? "masked" : "all";
  const gridOf = mulMatGrid;
  return [
    {
      most: 1,
      compile: () =>
        pipelines.get(mulMatVec(types, pipelines.subgroups), {
          ...overrides,
          ...workgroups[workgroup],
        }),
      gridOf: (rows, routed) => mulMatVecGrid(rows, workgroup, routed),
    },
    {
      most: fewTokens,
      compile: () => pipelines.get(tiles, { ...overrides, few: true }),
      gridOf,
    },
    {
      most: Infinity,
      compile: () => pipelines.get(tiles, { ...overrides, few: false }),
      gridOf,
    },
  ];
}

function integerVariants(
  pipelines: Pipelines,
  types: readonly PackedType[],
  overrides: Overrides,
  groups: number,
): Variant[] {
  const isMasked = skipsRows(overrides);
  const kernel = mulMatVecQ(types, pipelines.subgroups);
  const few = columnCounts.map((columns): Variant => {
    const workgroup = columns > 1 || isMasked ? "pairs" : "all";
    return {
      most: columns,
      compile: () =>
        pipelines.get(kernel, {
          ...overrides,
          ...workgroups[workgroup],
          ...columns > 1
            ? tileCounters
            : { lane_units: laneUnits(groups, isMasked) },
          columns,
        }),
      gridOf: (rows, tokens) =>
        mulMatVecGrid(rows, workgroup, columns > 1 ? 1 : tokens),
    };
  });
  return [...few, {
    most: Infinity,
    compile: () => pipelines.get(mulMatQ(types), overrides),
    gridOf: mulMatGrid,
  }];
}
