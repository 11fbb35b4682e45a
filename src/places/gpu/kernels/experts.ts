/**
 * Which experts tokens choose, by their routers' scores. They are kept in the
 * tokens' records, where kernels whose rows are of several experts look them up.
 */
import {
  choose_experts,
  experts as experts_wgsl,
} from "../../../../shaders/shaders.ts";
import { limits } from "../../../model/model.ts";
import type { Grid, Kernel } from "./kernel.ts";

/** Parameters of kernels whose rows are of several experts, one expert's behind another's. */
export const expertParams = {
  /** Experts that a token chooses; 1 where there is no router */
  slots: "u32",
  /** Where a token's record has them */
  routes: "u32",
  /** Those whose rows are in this piece of the matrix: the number of the first, and how many */
  expert_first: "u32",
  expert_count: "u32",
} as const;

/** How these kernels look a token's experts up. */
export const chosenExperts: string = experts_wgsl;

export const chooseExperts = {
  name: "choose_experts",
  limits: { experts: limits.experts },
  writesStep: true,
  bindings: { scores: "read f32" },
  body: [choose_experts],
  params: {
    /** Those that tokens choose among, how many each chooses, and how many all share */
    experts: "u32",
    used: "u32",
    shared_count: "u32",
    /** Floats of scores from one token to the next */
    stride: "u32",
    routes: "u32",
    /** What weights are multiplied by */
    scale: "f32",
  },
  overrides: {
    /** Whether a weight is the sigmoid of its score, and not its share of all */
    sigmoid: false,
    /** Whether weights of the chosen ones are made to add up to 1 */
    normalised: false,
  },
  constants: { most_experts: limits.experts },
} satisfies Kernel;

export function chooseExpertsGrid(tokens: number): Grid {
  return [tokens];
}
