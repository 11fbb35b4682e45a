/** What begins the residual of each token, and is added to it outside of products. */
import {
  add_bias,
  add_partials,
  embed as embed_wgsl,
} from "../../../../shaders/shaders.ts";
import { chosenExperts } from "./experts.ts";
import type { Grid, Kernel } from "./kernel.ts";
import { type PackedType, unitWeights } from "./weights.ts";

/** Units of 32 weights that a workgroup writes */
const constants = { units: 64 };

export const embed = (type: PackedType) =>
  ({
    name: `embed ${type}`,
    bindings: { matrix: "read vec4u", x: "read_write vec4f" },
    body: [unitWeights(type), embed_wgsl],
    params: {
      /** The first id that the matrix has a row for */
      first: "u32",
      rows: "u32",
      groups: "u32",
      /** Vectors of x from one token to the next */
      x_stride: "u32",
      /** What weights are multiplied by */
      scale: "f32",
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

export const addBias = {
  name: "add_bias",
  bindings: { bias: "read f32", x: "read_write f32" },
  body: [chosenExperts, add_bias],
  params: {
    columns: "u32",
    /** Floats of x from one token to the next */
    stride: "u32",
    /** Experts that a token chooses, and where its record has them */
    slots: "u32",
    routes: "u32",
  },
  overrides: {
    /** Whether each expert has a bias, behind that of the one before */
    routed: false,
  },
  constants: { threads: 64 },
} satisfies Kernel;

export function addBiasGrid(columns: number, tokens: number): Grid {
  return [Math.ceil(columns / addBias.constants.threads), tokens];
}

export const addPartials = {
  name: "add_partials",
  bindings: { partials: "read vec4f", x: "read_write vec4f" },
  body: [add_partials],
  params: {
    /** Vectors of x, and of a slot, from one token to the next */
    stride: "u32",
  },
  overrides: { with_upload: false, with_stretches: false },
  /** Vectors of a workgroup, and invocations for each */
  constants: { vectors: 16, members: 16 },
} satisfies Kernel;

export function addPartialsGrid(length: number): Grid {
  return [Math.ceil(length / 4 / addPartials.constants.vectors)];
}
