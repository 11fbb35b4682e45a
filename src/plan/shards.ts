/**
 * Which rows and columns of which tensors a place needs for its parts.
 *
 * @module
 */
import { ggmlTypes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import {
  compact,
  type IndexSet,
  isList,
  type Range,
} from "../model/index_set.ts";
import type { Model } from "../model/model.ts";
import type { PlaceShards, Shard } from "../model/shard.ts";
import { kvHeadsOf, type PlacePlan } from "./plan.ts";

/**
 * Columns are cut where quantised activations have their blocks, so a range of
 * them is widened to multiples of this; what is not the place's own is
 * multiplied by zero.
 */
const columnUnit = 32;

/** What a place must load to hold its part of a plan. */
export function shardsOf(model: Model, plan: PlacePlan): PlaceShards {
  const { headSize } = model;
  const shard = (
    tensor: TensorInfo,
    rows: IndexSet = { start: 0, end: tensor.shape[1] ?? 1 },
    columns: IndexSet = { start: 0, end: tensor.shape[0] },
  ): Shard => ({ tensor, rows, columns });
  const optional = (tensor?: TensorInfo, rows?: IndexSet) =>
    tensor && shard(tensor, rows);
  const scaled = (range: Range, by: number): Range => ({
    start: range.start * by,
    end: range.end * by,
  });

  const token_embd = shard(model.token_embd, plan.vocab);
  return {
    token_embd,
    output: model.output === model.token_embd
      ? token_embd
      : shard(model.output, plan.vocab),
    output_norm: shard(model.output_norm),
    rope_freqs: optional(model.rope_freqs),
    layers: model.layers.map((layer, i) => {
      const { heads, neurons } = plan.parts[i];
      const qRows = scaled(heads, headSize);
      const kvRows = scaled(kvHeadsOf(model, heads), headSize);
      return {
        attn_norm: shard(layer.attn_norm),
        attn_q: shard(layer.attn_q, qRows),
        attn_k: shard(layer.attn_k, kvRows),
        attn_v: shard(layer.attn_v, kvRows),
        attn_output: shard(
          layer.attn_output,
          undefined,
          widened(qRows, layer.attn_output.shape[0]),
        ),
        ffn_norm: shard(layer.ffn_norm),
        ffn_gate: shard(layer.ffn_gate, neurons),
        ffn_up: shard(layer.ffn_up, neurons),
        ffn_down: layer.ffn_down && shard(
          layer.ffn_down,
          undefined,
          neuronColumns(layer.ffn_down, neurons),
        ),
        ffn_down_t: optional(layer.ffn_down_t, neurons),
        fc1: optional(layer.fc1),
        fc2: optional(layer.fc2, neurons),
      };
    }),
  };
}

/** The columns of `ffn_down` that hold some neurons' weights. */
function neuronColumns(
  { type, shape: [count] }: TensorInfo,
  neurons: IndexSet,
): IndexSet {
  if (!isList(neurons)) return widened(neurons, count);
  const { blockSize } = ggmlTypes[type];
  const blocks = [
    ...new Set(neurons.map((id) => Math.floor(id / blockSize))),
  ];
  return compact(Uint32Array.from(
    { length: blocks.length * blockSize },
    (_, i) => blocks[Math.floor(i / blockSize)] * blockSize + i % blockSize,
  ));
}

function widened(range: Range, limit: number): Range {
  if (range.start === range.end) return { start: 0, end: 0 };
  return {
    start: Math.floor(range.start / columnUnit) * columnUnit,
    end: Math.min(limit, Math.ceil(range.end / columnUnit) * columnUnit),
  };
}
