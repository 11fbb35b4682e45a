/**
 * Rotation of queries and keys; keys and values go to their pages.
 *
 * @module
 */
import body from "../../../../shaders/rope_store.wgsl" with { type: "text" };
import type { CacheType } from "../../cache_type.ts";
import { heads, pages } from "./heads.ts";
import type { Grid, Kernel } from "./kernel.ts";

/** Invocations of a workgroup: eight have a block of 32 elements */
const threads = 64;

/** The kernel for pages of some type. */
export const ropeStore = (type: CacheType) =>
  ({
    ...heads,
    name: `rope_store ${type}`,
    bindings: { kv: `read_write ${pages[type].type}`, qkv: "read_write f32" },
    body: [...heads.body, pages[type].body, body],
    constants: { ...heads.constants, threads },
  }) satisfies Kernel;

/** For the query heads and key and value heads of so many tokens. */
export function ropeStoreGrid(
  heads: number,
  headSize: number,
  tokens: number,
): Grid {
  return [Math.ceil(heads * Math.ceil(headSize / 32) * 8 / threads), tokens];
}
