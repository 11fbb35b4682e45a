/**
 * Attention: keys and values go to their pages, and query heads attend to those.
 * One workgroup for each head and token leaves a large device idle where there are
 * few of them: then several share a head's positions, and `attention_merge` adds up
 * their results.
 */
import {
  attended,
  attention as attention_wgsl,
  attention_merge,
  heads as heads_wgsl,
  kv_f16,
  kv_f32,
  kv_q8_0,
  kv_quads,
  rope_store,
  soft_cap,
} from "../../../../shaders/shaders.ts";
import { pagePositions } from "../../batch.ts";
import type { CacheType } from "../../cache_type.ts";
import type { Grid, Kernel } from "./kernel.ts";

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
  body: [heads_wgsl],
  params: {
    heads: "u32",
    kv_heads: "u32",
    /** Query heads of a key and value head, and the first query head's number among its own */
    group: "u32",
    group_shift: "u32",
    head_size: "u32",
    /** Elements of a head that turn; 0 = none */
    rope_size: "u32",
    /** Where the layer's angles begin in a token's record */
    angles: "u32",
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
    cap: "f32",
    /** Of norms of queries and keys */
    epsilon: "f32",
  },
  constants: { page_positions: pagePositions },
} satisfies Partial<Kernel>;

/** Elements of a head in a cache of some type: whole blocks of q8_0, pairs of quads otherwise. */
export function paddedHead(headSize: number, type: CacheType): number {
  const unit = type === "q8_0" ? 32 : 8;
  return unit * Math.ceil(headSize / unit);
}

/** Invocations of a workgroup: eight have a block of 32 elements */
const threads = 64;

export const ropeStore = (type: CacheType) =>
  ({
    ...heads,
    name: `rope_store ${type}`,
    bindings: {
      kv: `read_write ${pages[type].type}`,
      qkv: "read_write f32",
      /** Weights of a query head, then of a key head */
      norm: "read f32",
    },
    body: [...heads.body, pages[type].body, rope_store],
    overrides: {
      /** Whether each query and key head is normed */
      normed: false,
    },
    constants: { ...heads.constants, threads },
  }) satisfies Kernel;

/** For the query heads and key and value heads of so many tokens. */
export function ropeStoreGrid(
  heads: number,
  headSize: number,
  tokens: number,
  isNormed: boolean,
): Grid {
  if (isNormed) return [heads, tokens];
  return [Math.ceil(heads * Math.ceil(headSize / 32) * 8 / threads), tokens];
}

/** Positions of a tile, an invocation for each. */
const tile = 256;

/** Workgroups that keep a large device busy, and the fewest positions that are worth one. */
const enoughWorkgroups = 512, splitPositions = 512;

/** The kernel for pages of some type; its grid is [heads, tokens, splits], that of {@linkcode attentionMerge} [heads, tokens]. */
export const attention = (type: CacheType) =>
  ({
    ...heads,
    name: `attention ${type}`,
    // An invocation has a quad of the query.
    limits: { head_size: 4 * tile },
    bindings: {
      kv: `read_write ${pages[type].type}`,
      qkv: "read f32",
      /** A score of each head that no position has */
      sinks: "read f32",
      out: "read_write f32",
      /** Of each token, head and split: Σ weight · value, then (the highest score, Σ weight) */
      splits: "read_write vec4f",
    },
    body: [...heads.body, soft_cap, attended, pages[type].body, attention_wgsl],
    overrides: {
      /** Whether scores are capped */
      capped: false,
      /** Whether heads have sinks */
      sunk: false,
    },
    constants: { ...heads.constants, tile },
  }) satisfies Kernel;

/** How many workgroups share the positions of a head, where `heads` heads attend to `positions` each for `tokens` tokens. */
export function splitsFor(
  heads: number,
  tokens: number,
  positions: number,
): number {
  return Math.max(
    1,
    Math.min(
      Math.floor(enoughWorkgroups / (heads * tokens)),
      Math.ceil(positions / splitPositions),
    ),
  );
}

/** Bytes of the splits' results, in contexts of so many positions. */
export function splitBytes(contextSize: number, headSize: number): number {
  if (contextSize <= splitPositions) return 16;
  return enoughWorkgroups * 4 * (paddedHead(headSize, "q8_0") + 4);
}

/** The kernel, which is bound as attention is; it reads no pages. */
export const attentionMerge = {
  ...attention("f32"),
  name: "attention_merge",
  body: [...heads.body, attended, attention_merge],
} satisfies Kernel;
