/**
 * The architectures that culm runs. Both are the Llama block: RMS norm,
 * grouped-query attention with interleaved rotation, and a gated FFN.
 * Mistral's files say `llama`.
 *
 * @module
 */
import type { Activation, LayerTensors } from "./model.ts";

/** What tells one architecture from another. */
export interface Architecture {
  /** The activation that a file of this magic and these tensors means. */
  activation(magic: "GGUF" | "PWRI", layer: LayerTensors): Activation;
}

/** By `general.architecture`. */
export const architectures: Readonly<Record<string, Architecture>> = {
  bamboo: { activation: () => "drelu" },
  // PowerInfer files of ReluLLaMA and ProSparse say `llama` and mean relu(gate)·up;
  // they are told by the magic, or, where that is plain GGUF, by the transposed down.
  llama: {
    activation: (magic, layer) =>
      magic === "PWRI" || layer.ffn_down_t ? "reglu" : "swiglu",
  },
};
