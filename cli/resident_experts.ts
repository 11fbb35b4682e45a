/**
 * What of a mixture of experts is in memory, in words.
 *
 * @module
 */
import type { Model } from "../gguf.ts";
import type { ResidentExperts } from "../plan.ts";

/** How many experts are in memory: `30 to 31 of 64 experts of each layer, 23 of which stay`. */
export function residentText(
  layers: readonly ResidentExperts[],
  { expertCount }: Pick<Model, "expertCount">,
): string {
  const loaded = span(layers.map(({ loaded }) => loaded.length));
  const pinned = span(layers.map(({ pinned }) => pinned.length));
  return `${loaded} of ${expertCount} experts of each layer, ${
    pinned === "0" ? "those used last" : `${pinned} of which stay`
  }; others are read from the file`;
}

function span(counts: readonly number[]): string {
  const least = Math.min(...counts), most = Math.max(...counts);
  return least === most ? `${most}` : `${least} to ${most}`;
}
