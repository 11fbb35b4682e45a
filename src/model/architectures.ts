/**
 * The architectures that culm runs. Both are the Llama block: RMS norm,
 * grouped-query attention with interleaved rotation, and a gated FFN.
 * Mistral's files say `llama`.
 *
 * @module
 */
import { UnsupportedError } from "../errors.ts";
import type { Activation, LayerTensors } from "./model.ts";

/** What tells one architecture from another. */
export interface Architecture {
  /** The activation that a file of this magic, these tensors and this `hidden_activation` means. */
  activation(
    magic: "GGUF" | "PWRI",
    layer: LayerTensors,
    stated?: string,
  ): Activation;
}

/** By `general.architecture`. */
export const architectures: Readonly<Record<string, Architecture>> = {
  bamboo: { activation: () => "drelu" },
  // PowerInfer files of ReluLLaMA and ProSparse say `llama` and mean relu(gate)·up;
  // they are told by the magic, or, where that is plain GGUF, by the transposed down.
  // A dense file of such a model has to say so.
  llama: {
    activation: (magic, layer, stated) => {
      switch (stated) {
        case "relu":
          return "reglu";
        case "silu":
          return "swiglu";
        case undefined:
          return magic === "PWRI" || layer.ffn_down_t ? "reglu" : "swiglu";
      }
      throw new UnsupportedError(
        `Cannot run llama.hidden_activation ${
          JSON.stringify(stated)
        }: known are silu and relu`,
      );
    },
  },
};
