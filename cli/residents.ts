/**
 * What of a model is in memory, in words.
 *
 * @module
 */
import type { Model } from "../gguf.ts";
import type { LayerNeurons, ResidentExperts, Residents } from "../plan.ts";
import { formatBytes } from "./format.ts";

/** How many experts, or neurons, are in memory: `30 to 31 of 64 experts of each layer, 23 of which stay; …`. */
export function residentText(
  { experts, neurons }: Residents,
  model: Model,
): string {
  return experts ? expertText(experts, model) : neuronText(neurons!, model);
}

function expertText(layers: readonly ResidentExperts[], model: Model): string {
  const loaded = span(layers.map(({ loaded }) => loaded.length));
  const pinned = span(layers.map(({ pinned }) => pinned.length));
  const bytes = Math.round(missedBytes(layers, model));
  return `${loaded} of ${model.expertCount} experts of each layer, ${
    pinned === "0" ? "those used last" : `${pinned} of which stay`
  }; others are read from the file, ${
    formatBytes(bytes)
  } a token if all are chosen alike`;
}

function neuronText(
  layers: readonly LayerNeurons[],
  { feedForwardSize }: Model,
): string {
  const names = new Set(layers.flatMap(({ matrices }) => matrices));
  return `${
    span(layers.map(({ count }) => count))
  } of ${feedForwardSize} neurons of each layer (${[...names].join(", ")}), ${
    layers.every(({ stay }) => stay)
      ? "of which the hottest stay"
      : "those used last"
  }; others are read from the file when a mask asks for them`;
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
