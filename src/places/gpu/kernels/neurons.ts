/**
 * What becomes of the FFN activations h: small ones are dropped, and the others
 * multiply their rows of a down matrix that has a row for each neuron.
 */
import {
  down as down_wgsl,
  down_rows,
  down_rows_vec,
  keep_above,
} from "../../../../shaders/shaders.ts";
import { chosenExperts, expertParams } from "./experts.ts";
import type { Grid, Kernel } from "./kernel.ts";
import { type PackedType, unitWeights } from "./weights.ts";

export const keepAbove = {
  name: "keep_above",
  bindings: { thresholds: "read f32", h: "read_write f32" },
  body: [keep_above],
  params: {
    /** Floats of h that a token, or a choice, has, and from one to the next */
    length: "u32",
    stride: "u32",
    /** Choices of a token; 1 where there is no router */
    slots: "u32",
  },
  constants: { threads: 64 },
} satisfies Kernel;

/** For so many neurons of so many tokens, or choices. */
export function keepAboveGrid(neurons: number, count: number): Grid {
  return [Math.ceil(neurons / keepAbove.constants.threads), count];
}

/** Both kernels have these; what they write is bound behind. */
export const down = {
  bindings: { matrix: "read vec4u", h: "read f32" },
  body: [chosenExperts, down_wgsl],
  params: {
    /** Neurons of the matrix, and the number of the first in h; of experts, those of all that a token chose */
    rows: "u32",
    first: "u32",
    ...expertParams,
    /** Rows of an expert, and floats of its h */
    expert_rows: "u32",
    width: "u32",
    groups: "u32",
    /** Floats of h from one token to the next */
    h_stride: "u32",
    /** Vectors of x, and of a partial, from one token to the next */
    stride: "u32",
  },
  overrides: {
    /** Whether rows are of several experts */
    routed: false,
  },
} satisfies Omit<Kernel, "name">;

/** Tokens of a workgroup */
const tile = { tile_tokens: 8 };

/** Stretches for two tokens, and for many. */
const mostStretches = 32, fewestStretches = 4;

export const downRows = (type: PackedType) =>
  ({
    ...down,
    name: `down_rows ${type}`,
    bindings: { ...down.bindings, partials: "read_write vec4f" },
    body: [...down.body, unitWeights(type), down_rows],
    overrides: {
      ...down.overrides,
      /** Whether this piece of the matrix adds to what others wrote */
      adds: false,
    },
    constants: tile,
  }) satisfies Kernel;

export function downRowsGrid(groups: number, tokens: number): Grid {
  return [groups, stretchesFor(tokens), downRowsTiles(tokens)];
}

/** Tiles that so many tokens are cut into: rows are read as often, at most. */
export function downRowsTiles(tokens: number): number {
  return Math.ceil(tokens / tile.tile_tokens);
}

/** How many stretches the neurons are cut into in a step of `tokens` tokens. */
export function stretchesFor(tokens: number): number {
  return Math.max(fewestStretches, Math.floor(mostStretches / tokens));
}

/** Slots for the sums of all stretches in steps of up to `tokens` tokens. */
export function stretchSlots(tokens: number): number {
  return Math.max(mostStretches, fewestStretches * tokens);
}

export const downRowsVec = (type: PackedType) =>
  ({
    ...down,
    name: `down_rows_vec ${type}`,
    bindings: { ...down.bindings, x: "read_write vec4f" },
    body: [...down.body, unitWeights(type), down_rows_vec],
  }) satisfies Kernel;

/** For columns in so many groups: a workgroup has one of a group's eight units; of `routed` tokens, where rows are of several experts. */
export function downRowsVecGrid(groups: number, routed = 1): Grid {
  return [8 * groups, routed];
}
