/**
 * What a synthetic file would say of its model, without making its weights.
 *
 * @module
 */
import { type GgmlType, tensorBytes } from "../../formats/ggml/types.ts";
import { headerOf } from "../../formats/gguf/header_of.ts";
import type { TensorInfo } from "../../formats/gguf/read.ts";
import {
  describeModel,
  type LayerTensors,
  type Model,
} from "../../model/model.ts";
import type { SynthOptions } from "./options.ts";
import { synthGguf } from "./synthesise.ts";

/**
 * Describes a model of any size and type, to plan for it.
 *
 * @throws {UsageError} for sizes or shares that make no model
 * @throws {LimitError} for sizes that no model has
 */
export async function synthModel(options: SynthOptions): Promise<Model> {
  const { file } = await headerOf(synthGguf(options), "synthetic model");
  return describeModel(file);
}

/** The same model with its matrices in another type. */
export function asType(model: Model, type: GgmlType): Model {
  const retyped = <T extends TensorInfo | undefined>(tensor: T): T =>
    tensor && tensor.shape.length > 1
      ? {
        ...tensor,
        type,
        byteLength: tensorBytes(type, tensor.shape),
      }
      : tensor;
  const layerOf = (layer: LayerTensors): LayerTensors => ({
    attn_norm: layer.attn_norm,
    attn_q: retyped(layer.attn_q),
    attn_k: retyped(layer.attn_k),
    attn_v: retyped(layer.attn_v),
    attn_output: retyped(layer.attn_output),
    ffn_norm: layer.ffn_norm,
    ffn_gate: retyped(layer.ffn_gate),
    ffn_up: retyped(layer.ffn_up),
    ffn_down: retyped(layer.ffn_down),
    ffn_down_t: retyped(layer.ffn_down_t),
    fc1: retyped(layer.fc1),
    fc2: retyped(layer.fc2),
  });
  const token_embd = retyped(model.token_embd);
  return {
    ...model,
    token_embd,
    output: model.output === model.token_embd
      ? token_embd
      : retyped(model.output),
    layers: model.layers.map(layerOf),
  };
}
