/**
 * How many of a layer's neurons are read without asking.
 *
 * @module
 */
import { hotBorder, type Rates } from "../../plan/rates.ts";
import type { Part } from "../../plan/plan.ts";
import type { FeedForwardOptions } from "./feed_forward.ts";
import { liesSideBySide } from "./interleaved_rows.ts";
import type { LayerWeights } from "./weights.ts";

/** What a picked byte is worth in streamed ones. */
export function pickRatio({ pick, stream }: Rates): number {
  return Math.min(1, pick / stream);
}

/** The hot neurons of a layer, which its profile, if it has one, puts first. */
export function hotRows(
  weights: LayerWeights,
  { firing }: Part,
  { hotShare, sparsity, rates }: FeedForwardOptions,
): number {
  const { ffn_gate, ffn_up, fc1, fc2 } = weights;
  if (!firing) return 0;
  if (hotShare !== undefined) return Math.round(hotShare * ffn_gate.rows);
  if (sparsity.mode !== "predictor" || !fc1 || !fc2) {
    return hotBorder(firing.gatePositive, pickRatio(rates));
  }
  if (liesSideBySide(weights)) {
    // Neurons side by side are read by the same kernel, hot or not.
    return hotBorder(firing.active, 1, fc2.rowBytes / ffn_gate.stride);
  }
  const question = fc2.rowBytes / (ffn_gate.rowBytes + ffn_up.rowBytes);
  return hotBorder(firing.active, pickRatio(rates), question);
}
