/**
 * What the two kernels of matrix products share: a row of the matrix times the
 * normed x of a token, and what becomes of it.
 *
 * @module
 */
import body from "../../../../shaders/product.wgsl" with { type: "text" };
import type { Kernel } from "./kernel.ts";

/** Which rows are computed: all, those whose scores are positive, or those that reach the threshold. */
export const masks = { all: 0, positive: 1, threshold: 2 } as const;

/** What becomes of a result; the last three take g from the scores. */
export const epilogues = {
  store: 0,
  add: 1,
  relu: 2,
  drelu: 3,
  reglu: 4,
  swiglu: 5,
} as const;

/** What is counted in a layer: first for single tokens, then the same for tokens in tiles. */
export const counters = { gate_positive: 0, active: 1, predicted: 2 } as const;

/** Counters of one layer. */
export const counterWords = 6;

/** Both kernels have these. */
export const product = {
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
  body: [body],
  params: {
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
  },
  overrides: {
    /** Whether x is normed: x · norm / rms(x) */
    normed: false,
    /** Whether the bias is added to results */
    biased: false,
    /** Whether x is read, token by token, where logits are wanted */
    gathered: false,
    mask: masks.all,
    epilogue: epilogues.store,
  },
  constants: { mask: masks, epilogue: epilogues, counter: counters },
} satisfies Omit<Kernel, "name">;
