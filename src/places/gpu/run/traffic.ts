/**
 * What a step sends to the device and fetches from it, computed from the plan.
 *
 * @module
 */
import type { Model } from "../../../model/model.ts";
import type { Plan } from "../../../plan/plan.ts";
import { scheduleOf } from "../../../plan/schedule.ts";
import type { Sparsity } from "../../../plan/sparsity.ts";
import type { Batch } from "../../batch.ts";
import type { GpuCounts } from "../../gpu_stats.ts";
import type { DeviceLayout } from "../memory/layout.ts";
import { pickedOf, topRowLength } from "../../top_logits_row.ts";
import { headerBytes } from "../kernels/step_words.ts";
import { uploadedBytes } from "./step.ts";

/** Read-backs and bytes of one step. */
export type Traffic = Pick<GpuCounts, "readBacks" | "uploaded" | "downloaded">;

/** The traffic of a step in which the GPU holds what `layout` says. */
export function trafficOf(
  model: Model,
  plan: Plan,
  sparsity: Sparsity,
  { strides, bytes, head, logitRows }: DeviceLayout,
  batch: Batch,
): Traffic {
  const n = batch.length;
  let readBacks = 0;
  let uploaded = uploadedBytes(batch, model.ropeSize);
  let downloaded = 0;
  const fetch = (size: number) => {
    readBacks++;
    downloaded += size + bytes.counters;
  };
  const residual = 4 * n * strides.hidden;
  for (const { kind, sides, before, after } of scheduleOf(model, plan)) {
    if (before === "residual-to-gpu") uploaded += residual;
    if (before === "residual-to-cpu") fetch(residual);
    if (after === "sum-to-gpu") uploaded += residual;
    const isOurs = sides.includes("gpu");
    if (isOurs && kind === "ffn" && sparsity.mode === "top-k") {
      fetch(4 * n * strides.neurons);
      uploaded += 4 * n;
    }
  }
  // The logits come in portions; each but the first takes a new header.
  const picked = pickedOf(batch, model.vocabSize, plan.gpu?.vocab);
  const columns = picked ? topRowLength(picked) : head?.output.rows ?? 0;
  for (let first = 0; head && first < batch.logitCount; first += logitRows) {
    if (first > 0) uploaded += headerBytes;
    fetch(4 * columns * Math.min(logitRows, batch.logitCount - first));
  }
  return { readBacks, uploaded, downloaded };
}
