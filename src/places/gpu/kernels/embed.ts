/**
 * Rows of the embedding.
 *
 * @module
 */
import body from "../../../../shaders/embed.wgsl" with { type: "text" };
import type { Grid, Kernel } from "./kernel.ts";
import { type PackedType, unitWeights } from "./weights.ts";

/** Units of 32 weights that a workgroup writes */
const constants = { units: 64 };

/** The kernel for an embedding of some type. */
export const embed = (type: PackedType) =>
  ({
    name: `embed ${type}`,
    bindings: { matrix: "read vec4u", x: "read_write vec4f" },
    body: [unitWeights(type), body],
    params: {
      /** The first id that the matrix has a row for */
      first: "u32",
      rows: "u32",
      groups: "u32",
      /** Vectors of x from one token to the next */
      x_stride: "u32",
    },
    overrides: {
      /** Whether rows of other ids become zero; further pieces of a matrix leave them */
      clears: true,
    },
    constants,
  }) satisfies Kernel;

/** For tokens whose rows of x take so many numbers. */
export function embedGrid(stride: number, tokens: number): Grid {
  return [Math.ceil(stride / 32 / constants.units), tokens];
}
