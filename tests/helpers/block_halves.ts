/** Where blocks of ggml's types have numbers in f16. */
import type { GgmlType } from "../../src/formats/ggml/types.ts";

/** By type, in bytes from the beginning of a block; none where its scales are in another format, or spread over several words. */
export const halvesOf: Readonly<Record<GgmlType, readonly number[]>> = {
  F32: [],
  F16: [0],
  BF16: [],
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
  TQ1_0: [52],
  TQ2_0: [64],
  Q1_0: [0],
  Q2_0: [0],
  IQ1_S: [0],
  IQ2_XXS: [0],
  IQ2_XS: [0],
  IQ2_S: [0],
  IQ3_XXS: [0],
  IQ3_S: [0],
  MXFP4: [],
  NVFP4: [],
  IQ1_M: [],
};
