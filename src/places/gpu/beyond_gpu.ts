/** What models ask for that kernels of the GPU do not compute. */
import type { Model } from "../../model/model.ts";

/** The first such thing, in words that follow "computes"; undefined where there is none. */
export function beyondGpu(model: Model): string | undefined {
  const { layers } = model;
  const has = (test: (layer: Model["layers"][number]) => unknown) =>
    layers.some(test);
  const isUnnormed = has(({ attn_norm, ffn_norm }) => !attn_norm || !ffn_norm);
  const traits: [isThere: unknown, words: string][] = [
    [
      isUnnormed && model.residualScale !== 1,
      "scaled residuals that no norm reads",
    ],
  ];
  return traits.find(([isThere]) => isThere)?.[1];
}
