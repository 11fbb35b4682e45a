/**
 * A matrix times the vector of one token.
 *
 * @module
 */
import body from "../../../../shaders/mul_mat_vec.wgsl" with { type: "text" };
import subgroup from "../../../../shaders/lanes_subgroup.wgsl" with {
  type: "text",
};
import workgroup from "../../../../shaders/lanes_workgroup.wgsl" with {
  type: "text",
};
import type { Grid, Kernel } from "./kernel.ts";
import { product } from "./products.ts";
import { dotRows, type PackedType } from "./weights.ts";

/**
 * A workgroup's invocations, and the rows that each has: several in long
 * stretches of rows, for all of which x is read once; one of rows of which a mask
 * leaves some.
 */
export const workgroups = {
  all: { lanes: 32, rows: 4, rows_each: 4 },
  masked: { lanes: 32, rows: 8, rows_each: 1 },
} as const;

/** The kernel for rows of some types; with `subgroups` of 32 lanes at least, they add up without shared memory. */
export const mulMatVec = (types: readonly PackedType[], subgroups: boolean) =>
  ({
    ...product,
    name: ["mul_mat_vec", ...types].join(" "),
    body: [
      ...product.body,
      dotRows(types),
      subgroups ? subgroup : workgroup,
      body,
    ],
    overrides: { ...product.overrides, ...workgroups.all },
    constants: { ...product.constants, counter_set: 0 },
  }) satisfies Kernel;

/** For so many rows of results. */
export function mulMatVecGrid(
  rows: number,
  workgroup: keyof typeof workgroups,
): Grid {
  const { rows: groups, rows_each } = workgroups[workgroup];
  return [Math.ceil(rows / (groups * rows_each))];
}
