/**
 * Small FFN activations become zero.
 *
 * @module
 */
import body from "../../../../shaders/keep_above.wgsl" with { type: "text" };
import type { Grid, Kernel } from "./kernel.ts";

/** The kernel. */
export const keepAbove = {
  name: "keep_above",
  bindings: { thresholds: "read f32", h: "read_write f32" },
  body: [body],
  params: {
    /** Floats of h that a token has, and from one token to the next */
    length: "u32",
    stride: "u32",
  },
  constants: { threads: 64 },
} satisfies Kernel;

/** For tokens that have so many neurons. */
export function keepAboveGrid(neurons: number, tokens: number): Grid {
  return [Math.ceil(neurons / keepAbove.constants.threads), tokens];
}
