/**
 * A matrix times the vectors of several tokens, in tiles.
 *
 * @module
 */
import body from "../../../../shaders/mul_mat.wgsl" with { type: "text" };
import type { Grid, Kernel } from "./kernel.ts";
import { counterWords, product } from "./products.ts";
import { type PackedType, quadWeights } from "./weights.ts";

/** Rows of a tile, and its tokens: of a few, or of many. */
const tile = { tile_rows: 64, few_tokens: 8, many_tokens: 32 } as const;

/** The kernel for rows of some types. */
export const mulMat = (types: readonly PackedType[]) =>
  ({
    ...product,
    name: ["mul_mat", ...types].join(" "),
    body: [...product.body, quadWeights(types), body],
    overrides: { ...product.overrides, few: false },
    constants: { ...product.constants, ...tile, counter_set: counterWords / 2 },
  }) satisfies Kernel;

/** Whether tiles have a few tokens, where there are so many. */
export function hasFew(tokens: number): boolean {
  return tokens <= tile.few_tokens;
}

/** Tiles that so many tokens are cut into: the matrix is read as often. */
export function tileCount(tokens: number): number {
  const { few_tokens, many_tokens } = tile;
  return Math.ceil(tokens / (hasFew(tokens) ? few_tokens : many_tokens));
}

/** For so many rows of results, and so many tokens. */
export function mulMatGrid(rows: number, tokens: number): Grid {
  return [Math.ceil(rows / tile.tile_rows), tileCount(tokens)];
}
