/**
 * Norms and biases on the device.
 *
 * @module
 */
import { lengthOf } from "../../../model/index_set.ts";
import type { LayerShards, Shard } from "../../../model/shard.ts";
import { paddedTo256 } from "./packing.ts";

/** A vector, and the shards whose elements it holds. */
export interface VectorLayout {
  /** Its numbers, filled up with zeros to a multiple of 256 */
  readonly length: number;
  readonly parts: readonly VectorPart[];
}

/** The elements of a shard, and where the first is. */
export interface VectorPart {
  readonly shard: Shard;
  readonly first: number;
}

/** Something for each vector of a layer. */
export type LayerVectors<T> = {
  readonly attn_norm: T;
  readonly ffn_norm: T;
  /** As a token's queries, keys and values lie */
  readonly qkv_bias?: T;
  readonly attn_output_bias?: T;
  readonly ffn_gate_bias?: T;
  readonly ffn_up_bias?: T;
  readonly ffn_down_bias?: T;
};

/** Turns what there is for each vector of a layer into something else. */
export function mapVectors<T extends object, U>(
  vectors: LayerVectors<T>,
  to: (from: T) => U,
): LayerVectors<U> {
  const entries = Object.entries<T | undefined>(vectors)
    .map(([name, vector]) => [name, vector && to(vector)]);
  return Object.fromEntries(entries);
}

/** The vector of one shard. */
export function vectorOf(shard: Shard): VectorLayout;
/** The vector of one shard, where there is one. */
export function vectorOf(shard?: Shard): VectorLayout | undefined;
export function vectorOf(shard?: Shard): VectorLayout | undefined {
  return shard && vectorOfParts([{ shard, first: 0 }]);
}

function vectorOfParts(parts: readonly VectorPart[]): VectorLayout {
  const ends = parts.map(({ shard, first }) => first + lengthOf(shard.columns));
  return { length: paddedTo256(Math.max(...ends)), parts };
}

/** The biases of queries, keys and values. */
export function qkvBias(
  { attn_q_bias, attn_k_bias, attn_v_bias }: LayerShards,
  first: { readonly q: number; readonly k: number; readonly v: number },
): VectorLayout | undefined {
  const parts: VectorPart[] = [];
  const add = (first: number, shard?: Shard) => {
    if (shard) parts.push({ shard, first });
  };
  add(first.q, attn_q_bias);
  add(first.k, attn_k_bias);
  add(first.v, attn_v_bias);
  return parts.length > 0 ? vectorOfParts(parts) : undefined;
}
