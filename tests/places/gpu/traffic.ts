/**
 * What a step sends to the device and fetches from it, computed from the plan.
 *
 * @module
 */
import type { Model } from "../../../src/model/model.ts";
import { lengthOf } from "../../../src/model/index_set.ts";
import type { Part, Plan } from "../../../src/plan/plan.ts";
import {
  scheduleOf,
  type Squares,
  type StageKind,
} from "../../../src/plan/schedule.ts";
import type { Sparsity } from "../../../src/plan/sparsity.ts";
import { type Batch, pagesFor } from "../../../src/places/batch.ts";
import type { GpuCounts } from "../../../src/places/gpu_stats.ts";
import type { DeviceLayout } from "../../../src/places/gpu/memory/layout.ts";
import {
  pickedOf,
  topLogitsRowLength,
} from "../../../src/places/top_logits_row.ts";
import {
  headerBytes,
  type Recorded,
  recordWords,
} from "../../../src/places/gpu/kernels/step_words.ts";

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
  let uploaded = uploadedBytes(batch, model);
  let downloaded = 0;
  const fetch = (size: number) => {
    readBacks++;
    downloaded += size + bytes.counters;
  };
  const residual = 4 * n * strides.hidden;
  for (const stage of scheduleOf(model, plan)) {
    const { kind, layer, sides, before, choices, after } = stage;
    if (before === "residual-to-gpu") uploaded += residual;
    if (before === "residual-to-cpu") fetch(residual);
    if (choices) uploaded += headerBytes + 4 * n * recordWords(model);
    if (after === "sum-to-gpu") uploaded += residual;
    const isOurs = sides.includes("gpu");
    // 1 / rms goes where squares of both sides were summed.
    if (isOurs && !isWhole(model, plan.gpu!.parts[layer], kind)) {
      for (const of of stage.squares) {
        fetch(4 * n * widthOf[of](strides));
        uploaded += 2 * 4 * n;
      }
    }
    if (isOurs && kind === "ffn" && sparsity.mode === "top-k") {
      fetch(4 * n * (model.routing?.used ?? 1) * strides.neurons);
      uploaded += 4 * n;
    }
  }
  // The logits come in portions; each but the first takes a new header.
  const picked = pickedOf(batch, model.vocabSize, plan.gpu?.vocab);
  const columns = picked ? topLogitsRowLength(picked) : head?.output.rows ?? 0;
  for (let first = 0; head && first < batch.logitCount; first += logitRows) {
    if (first > 0) uploaded += headerBytes;
    fetch(4 * columns * Math.min(logitRows, batch.logitCount - first));
  }
  return { readBacks, uploaded, downloaded };
}

/** What comes back for the sums of its squares. */
const widthOf: Readonly<
  Record<Squares, (strides: DeviceLayout["strides"]) => number>
> = {
  "qk-squares": ({ qkv }) => qkv,
  "head-squares": ({ attended }) => attended,
  "neuron-squares": ({ neurons }) => neurons,
};

/** Whether the GPU has all heads, or neurons. */
function isWhole(model: Model, { heads, neurons }: Part, kind: StageKind) {
  return kind === "attention"
    ? lengthOf(heads) === model.headCount
    : lengthOf(neurons) === model.feedForwardSize;
}

/** Bytes that a step uploads: a header, records, and the pages that each sequence has reached. */
function uploadedBytes(batch: Batch, model: Recorded): number {
  const pages = new Map<number, number>();
  for (let t = 0; t < batch.length; t++) {
    const sequence = batch.sequences[t];
    const reached = pagesFor(batch.positions[t] + 1);
    pages.set(sequence, Math.max(pages.get(sequence) ?? 0, reached));
  }
  const all = [...pages.values()].reduce((sum, count) => sum + count, 0);
  return headerBytes + 4 * (batch.length * recordWords(model) + all);
}
