/**
 * The sum of the partials that lie in slots, added to the residual.
 *
 * @module
 */
import body from "../../../../shaders/add_partials.wgsl" with { type: "text" };
import type { Grid, Kernel } from "./kernel.ts";

/** The kernel. */
export const addPartials = {
  name: "add_partials",
  bindings: { partials: "read vec4f", x: "read_write vec4f" },
  body: [body],
  params: {
    /** Vectors of x, and of a slot, from one token to the next */
    stride: "u32",
  },
  overrides: { with_upload: false, with_stretches: false },
  /** Vectors of a workgroup, and invocations for each */
  constants: { vectors: 16, members: 16 },
} satisfies Kernel;

/** For so many numbers of x. */
export function addPartialsGrid(length: number): Grid {
  return [Math.ceil(length / 4 / addPartials.constants.vectors)];
}
