/**
 * Products: a row of a matrix times the normed x of a token, and what becomes of
 * it. Of floats one kernel for a single token, one for several in tiles; of integers
 * one for up to eight tokens, one for more in tiles, which both make integers of x.
 */
import {
  lane_rows,
  lanes_subgroup as subgroup,
  lanes_workgroup as workgroup,
  mul_mat,
  mul_mat_q,
  mul_mat_vec,
  mul_mat_vec_q,
  product as product_wgsl,
  quantised,
  soft_cap,
  tile_rows,
} from "../../../../shaders/shaders.ts";
import { chosenExperts, expertParams } from "./experts.ts";
import type { Grid, Kernel } from "./kernel.ts";
import {
  dotFloatRows,
  dotIntegerRows,
  integerUnits,
  type PackedType,
  quadWeights,
} from "./weights.ts";

/** Which rows are computed: all, those whose scores are positive, or those that reach the threshold. */
export const masks = { all: 0, positive: 1, threshold: 2 } as const;

/** What becomes of a result; those from `drelu` on take g from the scores, where there is a gate. */
export const epilogues = {
  store: 0,
  add: 1,
  relu: 2,
  drelu: 3,
  reglu: 4,
  relu2: 5,
  swiglu: 6,
  geglu: 7,
  swiglu_oai: 8,
} as const;

/**
 * Whose results there are: of tokens; where rows are of several experts, of each
 * expert that a token chose, or of each token the sum over those.
 */
export const routes = { none: 0, each: 1, sum: 2 } as const;

/** What is counted in a layer: first for single tokens, then the same for tokens in tiles. */
export const counters = { gate_positive: 0, active: 1, predicted: 2 } as const;

/** Counters of one layer. */
export const counterWords = 6;

export const product = {
  name: "product",
  bindings: {
    matrix: "read vec4u",
    x: "read vec4f",
    norm: "read vec4f",
    /** By which rows are masked; g of the activation */
    scores: "read f32",
    /** Laid out as a token's `out` */
    bias: "read f32",
    out: "read_write f32",
    counters: "read_write atomic<u32>",
  },
  body: [chosenExperts, soft_cap, product_wgsl],
  params: {
    /** Of an expert, where there are several */
    rows: "u32",
    /** The matrix has this many times 256 columns, the last ones zero */
    groups: "u32",
    /** Vectors of x from one token to the next */
    x_stride: "u32",
    /** Floats of out (and of scores) from one token to the next */
    out_stride: "u32",
    /** Where the first row's result goes */
    out_first: "u32",
    /** Results from `rows` to here are set to zero */
    padded_rows: "u32",
    /** Columns that count for the norm */
    columns: "u32",
    epsilon: "f32",
    threshold: "f32",
    /** Gates up to this count as 0 */
    gate_threshold: "f32",
    /** What products are multiplied by, and results are capped at */
    factor: "f32",
    cap: "f32",
    /** The number of the layer's first counter */
    counter: "u32",
    /**
     * From which number on rows are of a second type of weights, and of a third,
     * and what is added to numbers there: rows are found by counting those of
     * their size.
     */
    second_row: "u32",
    second_shift: "u32",
    third_row: "u32",
    third_shift: "u32",
    /** The number of up's first row, where rows are paired, and that of its first bias */
    up_first: "u32",
    up_bias: "u32",
    ...expertParams,
    /** Choices of a token that read the same x */
    x_slots: "u32",
  },
  overrides: {
    /** Whether x is normed: x · norm / rms(x) */
    normed: false,
    biased: false,
    scaled: false,
    capped: false,
    /** Whether g is another product's; else it is the result, and u is 1 */
    gated: true,
    /** Whether results are of neurons: of both of its rows, gate's and up's, one h */
    paired: false,
    /** Whether x is read, token by token, where logits are wanted */
    gathered: false,
    route: routes.none,
    mask: masks.all,
    epilogue: epilogues.store,
  },
  constants: {
    route: routes,
    mask: masks,
    epilogue: epilogues,
    counter: counters,
  },
} satisfies Kernel;

/**
 * A workgroup's invocations, and the rows that each has: several in long
 * stretches of rows, for all of which x is read once; fewer of rows of which a
 * mask leaves some, or of integers with several tokens.
 */
export const workgroups = {
  all: { lanes: 32, rows: 4, rows_each: 4 },
  masked: { lanes: 32, rows: 8, rows_each: 1 },
  pairs: { lanes: 32, rows: 8, rows_each: 2 },
} as const;

/** The kernel for rows of some types of floats; with `subgroups` of 32 lanes at least, they add up without shared memory. */
export const mulMatVec = (types: readonly PackedType[], subgroups: boolean) =>
  ({
    ...product,
    name: ["mul_mat_vec", ...types].join(" "),
    body: [
      ...product.body,
      lane_rows,
      dotFloatRows(types),
      subgroups ? subgroup : workgroup,
      mul_mat_vec,
    ],
    overrides: { ...product.overrides, ...workgroups.all },
    constants: { ...product.constants, counter_set: 0 },
  }) satisfies Kernel;

/** The most tokens of the kernel below, and for how many it is made: it leaves out results of others. */
export const fewTokens = 8, columnCounts = [1, 2, 4, fewTokens] as const;

/** The kernel for rows of some types of integers, and up to {@linkcode fewTokens} tokens. */
export const mulMatVecQ = (types: readonly PackedType[], subgroups: boolean) =>
  ({
    ...product,
    name: ["mul_mat_vec_q", ...types].join(" "),
    body: [
      ...product.body,
      lane_rows,
      dotIntegerRows(types),
      quantised,
      subgroups ? subgroup : workgroup,
      mul_mat_vec_q,
    ],
    overrides: {
      ...product.overrides,
      ...workgroups.all,
      columns: 1,
      lane_units: 1,
      /** 0 with one column, that of tiles otherwise */
      counter_set: 0,
    },
  }) satisfies Kernel;

/** Units of a row of so many groups that an invocation reads at once, with one token. */
export function laneUnits(groups: number, isMasked: boolean): number {
  const each = Math.ceil(8 * groups / workgroups.all.lanes);
  if (isMasked) return each > 2 ? 4 : 1;
  return each > 1 ? 2 : 1;
}

/** For so many rows, of which a neuron has two; of `routed` tokens or choices, where rows are of several experts. */
export function mulMatVecGrid(
  rows: number,
  workgroup: keyof typeof workgroups,
  routed = 1,
): Grid {
  const { rows: groups, rows_each } = workgroups[workgroup];
  return [Math.ceil(rows / (groups * rows_each)), routed];
}

/** Rows of a tile, and its tokens: of a few, or of many. */
const tile = {
  tile_rows: 64,
  few_tokens: fewTokens,
  many_tokens: 32,
} as const;

/** Where kernels count what they compute for tokens in tiles. */
export const tileCounters = { counter_set: counterWords / 2 } as const;

/** For floats. */
export const mulMat = (types: readonly PackedType[]) =>
  ({
    ...product,
    name: ["mul_mat", ...types].join(" "),
    body: [...product.body, tile_rows, quadWeights(types), mul_mat],
    overrides: { ...product.overrides, few: false },
    constants: { ...product.constants, ...tile, ...tileCounters },
  }) satisfies Kernel;

/** For integers, and more than {@linkcode fewTokens} tokens. */
export const mulMatQ = (types: readonly PackedType[]) =>
  ({
    ...product,
    name: ["mul_mat_q", ...types].join(" "),
    body: [
      ...product.body,
      tile_rows,
      integerUnits(types),
      quantised,
      mul_mat_q,
    ],
    constants: { ...product.constants, ...tile, ...tileCounters },
  }) satisfies Kernel;

/** Tiles that so many tokens are cut into: the matrix is read as often. */
export function tileCount(tokens: number): number {
  const size = tokens <= fewTokens ? fewTokens : tile.many_tokens;
  return Math.ceil(tokens / size);
}

/** For so many rows, of which a neuron has two. */
export function mulMatGrid(rows: number, tokens: number): Grid {
  return [Math.ceil(rows / tile.tile_rows), tileCount(tokens)];
}
