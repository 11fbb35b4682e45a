/**
 * The result of attention from what several workgroups left of a head.
 *
 * @module
 */
import attended from "../../../../shaders/attended.wgsl" with { type: "text" };
import body from "../../../../shaders/attention_merge.wgsl" with {
  type: "text",
};
import { attention } from "./attention.ts";
import { heads } from "./heads.ts";
import type { Grid, Kernel } from "./kernel.ts";

/** The kernel, which is bound as attention is; it reads no pages. */
export const attentionMerge = {
  ...attention("f32"),
  name: "attention_merge",
  body: [...heads.body, attended, body],
} satisfies Kernel;

/** For so many heads and tokens. */
export function attentionMergeGrid(heads: number, tokens: number): Grid {
  return [heads, tokens];
}
