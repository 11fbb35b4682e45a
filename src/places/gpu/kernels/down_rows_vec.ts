/**
 * Rows of a down matrix that has one for each neuron, for one token: those
 * whose h is not zero.
 *
 * @module
 */
import body from "../../../../shaders/down_rows_vec.wgsl" with { type: "text" };
import { down } from "./down.ts";
import type { Grid, Kernel } from "./kernel.ts";
import { type PackedType, unitWeights } from "./weights.ts";

/** The kernel for a matrix of some type. */
export const downRowsVec = (type: PackedType) =>
  ({
    ...down,
    name: `down_rows_vec ${type}`,
    bindings: { ...down.bindings, x: "read_write vec4f" },
    body: [...down.body, unitWeights(type), body],
  }) satisfies Kernel;

/** For columns in so many groups: a workgroup has one of a group's eight units. */
export function downRowsVecGrid(groups: number): Grid {
  return [8 * groups];
}
