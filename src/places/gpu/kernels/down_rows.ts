/**
 * Rows of a down matrix that has one for each neuron, for several tokens: those
 * whose h is not zero for any of them. Neurons are cut into stretches, so that
 * many workgroups share them; each leaves its sum in a slot.
 *
 * @module
 */
import body from "../../../../shaders/down_rows.wgsl" with { type: "text" };
import { down } from "./down.ts";
import type { Grid, Kernel } from "./kernel.ts";
import { type PackedType, unitWeights } from "./weights.ts";

/** Tokens of a workgroup */
const constants = { tile_tokens: 8 };

/** Stretches for two tokens, and for many. */
const mostStretches = 32, fewestStretches = 4;

/** The kernel for a matrix of some type. */
export const downRows = (type: PackedType) =>
  ({
    ...down,
    name: `down_rows ${type}`,
    bindings: { ...down.bindings, partials: "read_write vec4f" },
    body: [...down.body, unitWeights(type), body],
    overrides: {
      /** Whether this piece of the matrix adds to what others wrote */
      adds: false,
    },
    constants,
  }) satisfies Kernel;

/** For columns in so many groups, and so many tokens. */
export function downRowsGrid(groups: number, tokens: number): Grid {
  return [groups, stretchesFor(tokens), downRowsTiles(tokens)];
}

/** Tiles that so many tokens are cut into: rows are read as often, at most. */
export function downRowsTiles(tokens: number): number {
  return Math.ceil(tokens / constants.tile_tokens);
}

/** How many stretches the neurons are cut into in a step of `tokens` tokens. */
export function stretchesFor(tokens: number): number {
  return Math.max(fewestStretches, Math.floor(mostStretches / tokens));
}

/** Slots for the sums of all stretches in steps of up to `tokens` tokens. */
export function stretchSlots(tokens: number): number {
  return Math.max(mostStretches, fewestStretches * tokens);
}
