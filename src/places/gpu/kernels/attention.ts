/**
 * Attention of query heads to the cached positions. One workgroup for each head
 * and token leaves a large device idle where there are few of them: then several
 * share a head's positions, and `attention_merge` adds up their results.
 *
 * @module
 */
import attended from "../../../../shaders/attended.wgsl" with { type: "text" };
import body from "../../../../shaders/attention.wgsl" with { type: "text" };
import type { CacheType } from "../../cache_type.ts";
import { heads, paddedHead, pages } from "./heads.ts";
import type { Grid, Kernel } from "./kernel.ts";

/** Positions of a tile, an invocation for each. */
const tile = 256;

/** Workgroups that keep a large device busy, and the fewest positions that are worth one. */
const enoughWorkgroups = 512, splitPositions = 512;

/** The kernel for pages of some type. */
export const attention = (type: CacheType) =>
  ({
    ...heads,
    name: `attention ${type}`,
    // An invocation has a quad of the query.
    limits: { head_size: 4 * tile },
    bindings: {
      kv: `read_write ${pages[type].type}`,
      qkv: "read f32",
      out: "read_write f32",
      /** Of each token, head and split: Σ weight · value, then (the highest score, Σ weight) */
      splits: "read_write vec4f",
    },
    body: [...heads.body, attended, pages[type].body, body],
    constants: { ...heads.constants, tile },
  }) satisfies Kernel;

/** For so many heads and tokens, whose positions `splits` workgroups share. */
export function attentionGrid(
  heads: number,
  tokens: number,
  splits: number,
): Grid {
  return [heads, tokens, splits];
}

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
