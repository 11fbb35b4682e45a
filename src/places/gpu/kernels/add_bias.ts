/**
 * A vector added to the residual of each token.
 *
 * @module
 */
import body from "../../../../shaders/add_bias.wgsl" with { type: "text" };
import type { Grid, Kernel } from "./kernel.ts";

/** The kernel. */
export const addBias = {
  name: "add_bias",
  bindings: { bias: "read vec4f", x: "read_write vec4f" },
  body: [body],
  params: {
    /** Vectors of x from one token to the next */
    stride: "u32",
  },
  constants: { threads: 64 },
} satisfies Kernel;

/** For so many tokens of so many numbers. */
export function addBiasGrid(stride: number, tokens: number): Grid {
  return [Math.ceil(stride / 4 / addBias.constants.threads), tokens];
}
