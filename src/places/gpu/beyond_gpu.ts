/** What models ask for that kernels of the GPU do not compute. */
import type { Model } from "../../model/model.ts";

/** The first such thing, in words that follow "computes"; undefined where there is none. */
export function beyondGpu(model: Model): string | undefined {
  const { rotations: [rotation], attention, layers, activation } = model;
  const has = (test: (layer: Model["layers"][number]) => unknown) =>
    layers.some(test);
  const traits: [isThere: unknown, words: string][] = [
    [model.norm === "layer", "layer norms"],
    [has((layer) => !layer.attn_norm), "layers without a norm before them"],
    [
      has((layer) => layer.post_attention_norm),
      "norms behind a layer's halves",
    ],
    [model.qkNorm, "norms of queries and keys"],
    [has((layer) => layer.attn_sub_norm), "norms within a layer's halves"],
    [has((layer) => !layer.ffn_gate), "an FFN without a gate"],
    [activation === "geglu" || activation === "relu2", activation],
    [model.gateThreshold > 0, "gates that have to pass a threshold"],
    [
      attention.some(({ rotation }) => rotation !== 0),
      "rotations that differ from layer to layer",
    ],
    [rotation.magnitude !== 1, "rotations that stretch"],
    [model.scoreCap, "soft caps of attention scores"],
    [model.logitCap, "soft caps of logits"],
    [model.temperature, "queries scaled by their position"],
    [
      [model.embeddingScale, model.residualScale, model.logitScale]
        .some((scale) => scale !== 1),
      "scaled embeddings, residuals or logits",
    ],
  ];
  return traits.find(([isThere]) => isThere)?.[1];
}
