/**
 * What of a mixture of experts is in memory, in words.
 *
 * @module
 */
import type { Model } from "../gguf.ts";
import type { ResidentExperts } from "../plan.ts";
import { formatBytes } from "./format.ts";

/** How many experts are in memory: `30 to 31 of 64 experts of each layer, 23 of which stay; …`. */
export function residentText(
  layers: readonly ResidentExperts[],
  model: Model,
): string {
  const loaded = span(layers.map(({ loaded }) => loaded.length));
  const pinned = span(layers.map(({ pinned }) => pinned.length));
  const bytes = Math.round(missedBytes(layers, model));
  return `${loaded} of ${model.expertCount} experts of each layer, ${
    pinned === "0" ? "those used last" : `${pinned} of which stay`
  }; others are read from the file, ${
    formatBytes(bytes)
  } a token if all are chosen alike`;
}

/** Bytes of the experts of a token that are not in memory, if all are chosen equally often. */
function missedBytes(
  layers: readonly ResidentExperts[],
  { layers: tensors, expertCount, routing }: Model,
): number {
  return layers.reduce((sum, { loaded }, layer) => {
    const { ffn_gate, ffn_up, ffn_down, ffn_down_t, fc1, fc2 } = tensors[layer];
    const bytes = [ffn_gate, ffn_up, ffn_down, ffn_down_t, fc1, fc2]
      .reduce((all, tensor) => all + (tensor?.byteLength ?? 0), 0);
    const { used, shared = 0 } = routing!, missed = expertCount - loaded.length;
    // Those that are shared are always there.
    const share = (used - shared) * missed / (expertCount - shared);
    return sum + share * bytes / expertCount;
  }, 0);
}

function span(counts: readonly number[]): string {
  const least = Math.min(...counts), most = Math.max(...counts);
  return least === most ? `${most}` : `${least} to ${most}`;
}
