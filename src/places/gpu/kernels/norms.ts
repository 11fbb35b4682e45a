/** Norms that are no part of a product: of what was computed, or around the mean. */
import { norm as body } from "../../../../shaders/shaders.ts";
import type { Grid, Kernel } from "./kernel.ts";

/** Where a normed number goes: to its place in x or in `out`, or it is added to that in `out`, and x becomes zero. */
export const targets = { x: 0, out: 1, sum: 2 } as const;

export const norm = {
  name: "norm",
  bindings: {
    x: "read_write f32",
    weight: "read f32",
    bias: "read f32",
    /** 1 / rms of each token's segments of the first kind, and of the second, where these are normed as one with others */
    scales: "read f32",
    out: "read_write f32",
  },
  body: [body],
  params: {
    /** Segments of the first kind; all others are of the second */
    count: "u32",
    /** Where they begin among a token's numbers, and how many each has */
    first: "u32",
    size: "u32",
    second_first: "u32",
    second_size: "u32",
    /** Floats of x, and of out, from one token to the next */
    stride: "u32",
    out_stride: "u32",
    epsilon: "f32",
  },
  overrides: {
    /** Whether around the mean */
    centred: false,
    biased: false,
    /** Whether by `scales` */
    given: false,
    target_of: targets.x,
  },
  constants: { threads: 256, target: targets },
} satisfies Kernel;

export function normGrid(segments: number, tokens: number): Grid {
  return [segments, tokens];
}
