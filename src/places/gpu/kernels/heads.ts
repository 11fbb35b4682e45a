/**
 * What the kernels of attention share: where queries, keys and values lie.
 *
 * @module
 */
import body from "../../../../shaders/heads.wgsl" with { type: "text" };
import kv_f16 from "../../../../shaders/kv_f16.wgsl" with { type: "text" };
import kv_f32 from "../../../../shaders/kv_f32.wgsl" with { type: "text" };
import kv_q8_0 from "../../../../shaders/kv_q8_0.wgsl" with { type: "text" };
import kv_quads from "../../../../shaders/kv_quads.wgsl" with { type: "text" };
import { pagePositions } from "../../batch.ts";
import type { CacheType } from "../../cache_type.ts";
import type { Kernel } from "./kernel.ts";

/** How pages of keys and values are read and written, and what they are arrays of. */
export const pages: Readonly<
  Record<CacheType, { readonly body: string; readonly type: string }>
> = {
  f32: { body: kv_f32 + kv_quads, type: "vec4f" },
  f16: { body: kv_f16 + kv_quads, type: "vec2u" },
  q8_0: { body: kv_q8_0, type: "u32" },
};

/** All of them have these. */
export const heads = {
  body: [body],
  params: {
    heads: "u32",
    kv_heads: "u32",
    /** Query heads of a key and value head, and the first query head's number among its own */
    group: "u32",
    group_shift: "u32",
    head_size: "u32",
    rope_size: "u32",
    /** Quads of a padded head */
    quads: "u32",
    /** Floats from one token's queries, keys and values to the next one's */
    stride: "u32",
    q_first: "u32",
    k_first: "u32",
    v_first: "u32",
    /** Floats from one token's result to the next one's */
    out_stride: "u32",
    /** Results of the last head are followed by zeros to here */
    out_padded: "u32",
    /** Positions that attention reaches back, itself included */
    window: "u32",
    scale: "f32",
  },
  constants: { page_positions: pagePositions },
} satisfies Partial<Kernel>;

/** Elements of a head in a cache of some type: whole blocks of q8_0, pairs of quads otherwise. */
export function paddedHead(headSize: number, type: CacheType): number {
  const unit = type === "q8_0" ? 32 : 8;
  return unit * Math.ceil(headSize / unit);
}
