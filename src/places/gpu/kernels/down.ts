/**
 * What the two kernels of a down matrix that has a row for each neuron share.
 *
 * @module
 */
import body from "../../../../shaders/down.wgsl" with { type: "text" };
import type { Kernel } from "./kernel.ts";

/** Both kernels have these; what they write is bound behind. */
export const down = {
  bindings: { matrix: "read vec4u", h: "read f32" },
  body: [body],
  params: {
    /** Neurons of the matrix, and the number of the first in h */
    rows: "u32",
    first: "u32",
    groups: "u32",
    /** Floats of h from one token to the next */
    h_stride: "u32",
    /** Vectors of x, and of a partial, from one token to the next */
    stride: "u32",
  },
} satisfies Omit<Kernel, "name">;
