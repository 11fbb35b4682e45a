/**
 * The architectures that culm runs. All are the Llama block: RMS norm,
 * grouped-query attention with rotation, and a gated FFN; they differ by what
 * stands here. Mistral's files say `llama`.
 */
import { UnsupportedError } from "../errors.ts";
import type { TensorInfo } from "../formats/gguf/gguf_file.ts";
import type { Activation } from "./activation.ts";
import type { Rope } from "./rope.ts";
import type { OptionalTensorName, PerLayer } from "./schema.ts";

/** What distinguishes one architecture from another. */
export interface Architecture {
  /** Tensors that its layers have, beside those that are in every model; none where left out */
  readonly needs?: readonly OptionalTensorName[];
  /** Tensors that its layers may have */
  readonly takes: readonly OptionalTensorName[];
  /** Which elements of a head turn together */
  readonly rope: Rope;
  /** The activation that a file of this magic, these tensors and this `hidden_activation` means. */
  activation(
    magic: "GGUF" | "PWRI",
    layer: PerLayer<TensorInfo>,
    stated?: string,
  ): Activation;
}

const ffn = ["ffn_down", "ffn_down_t", "fc1", "fc2"] as const;
const qkvBiases = ["attn_q_bias", "attn_k_bias", "attn_v_bias"] as const;
const otherBiases = [
  "attn_output_bias",
  "ffn_gate_bias",
  "ffn_up_bias",
  "ffn_down_bias",
] as const;

/** By `general.architecture`. */
export const architectures = new Map<string, Architecture>([
  ["bamboo", { takes: ffn, rope: "interleaved", activation: () => "drelu" }],
  // PowerInfer files of ReluLLaMA and ProSparse say `llama` and mean relu(gate)·up;
  // they are recognised by the magic, or, where that is plain GGUF, by the transposed down.
  // A dense file of such a model has to say so.
  ["llama", {
    takes: [...ffn, ...qkvBiases, ...otherBiases],
    rope: "interleaved",
    activation: (magic, layer, stated) =>
      statedActivation("llama", stated) ??
        (magic === "PWRI" || layer.ffn_down_t ? "reglu" : "swiglu"),
  }],
  ["qwen2", {
    needs: qkvBiases,
    takes: ffn,
    rope: "half",
    activation: (_magic, _layer, stated) =>
      statedActivation("qwen2", stated) ?? "swiglu",
  }],
]);

/** What a `hidden_activation` means in a gated FFN. */
function statedActivation(
  architecture: string,
  stated?: string,
): Activation | undefined {
  if (stated === undefined) return undefined;
  if (stated === "relu") return "reglu";
  if (stated === "silu") return "swiglu";
  throw new UnsupportedError(
    `Cannot run ${architecture}.hidden_activation ${
      JSON.stringify(stated)
    }: known are silu and relu`,
  );
}
