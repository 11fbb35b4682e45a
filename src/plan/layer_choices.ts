/**
 * The ways to share one layer between CPU and GPU, and what each costs.
 *
 * @module
 */
import { type Costs, exchangeMs } from "./costs.ts";
import type { GpuLayer } from "./gpu_plan.ts";
import { ffnMs } from "./prediction.ts";
import { type Side, sides } from "./schedule.ts";

/** One way to share a layer: how many of its hottest neurons are on the GPU. */
export interface LayerChoice extends GpuLayer {
  /** What this takes on the device */
  readonly bytes: number;
  /** The time in ms, by the side that has the residual before */
  readonly ms: Readonly<Record<Side, number>>;
  /** The side that has the residual after */
  readonly exit: Side;
}

/** Whether a choice puts anything on the GPU. */
export function usesGpu({ attention, hot }: GpuLayer): boolean {
  return attention === "gpu" || hot > 0;
}

/** What may be chosen of a layer. */
export interface ChoiceOptions {
  /** Its neurons, hottest first */
  readonly order: Uint32Array;
  /** How many of these the GPU may hold, ascending */
  readonly hotCounts: readonly number[];
  /** Bytes on the device of all heads, and of a neuron */
  readonly attentionBytes: number;
  readonly neuronBytes: number;
}

/** 0, `step`, twice that and so on, and `end`. */
export function multiplesOf(step: number, end: number): number[] {
  return Array.from(
    { length: Math.ceil(end / step) + 1 },
    (_, i) => Math.min(end, i * step),
  );
}

/** All choices of a layer. */
export function layerChoices(
  costs: Costs,
  layer: number,
  { order, hotCounts, attentionBytes, neuronBytes }: ChoiceOptions,
): LayerChoice[] {
  const layerCosts = costs.layers[layer];
  const { neurons: { cpu, gpu }, attention } = layerCosts;
  let coldMs = cpu.reduce((a, b) => a + b, 0), hotMs = 0;
  let counted = 0;
  const choices: LayerChoice[] = [];
  for (const hot of hotCounts) {
    for (; counted < hot; counted++) {
      coldMs -= cpu[order[counted]];
      hotMs += gpu[order[counted]];
    }
    const cold = order.length - hot;
    const ffn = ffnMs(
      layerCosts,
      { count: cold, ms: Math.max(0, coldMs) },
      { count: hot, ms: hotMs },
    );
    for (const side of sides) {
      const both = hot > 0 && cold > 0;
      const other = hot > 0 ? "gpu" : "cpu";
      // Both sides need the residual; the GPU then adds the CPU's sum to its own.
      const handed = both
        ? transferMs(costs, side, side === "cpu" ? "gpu" : "cpu") +
          exchangeMs(costs, "sum-to-gpu")
        : transferMs(costs, side, other);
      const time = attention[side] + handed + Math.max(ffn.cpu, ffn.gpu);
      choices.push({
        attention: side,
        hot,
        bytes: (side === "gpu" ? attentionBytes : 0) + hot * neuronBytes,
        ms: {
          cpu: transferMs(costs, "cpu", side) + time,
          gpu: transferMs(costs, "gpu", side) + time,
        },
        exit: other,
      });
    }
  }
  return choices;
}

/** What it takes, in ms, until the residual that `from` has is at `to`. */
export function transferMs(costs: Costs, from: Side, to: Side): number {
  return from === to ? 0 : exchangeMs(costs, `residual-to-${to}`);
}

/** Leaves choices out that another is as good as or better than in every respect, use of the GPU at all included. */
export function undominated(choices: readonly LayerChoice[]): LayerChoice[] {
  const kept: LayerChoice[] = [];
  const ascending = [...choices].sort((a, b) =>
    a.bytes - b.bytes || a.ms.cpu - b.ms.cpu
  );
  for (const choice of ascending) {
    const isWorse = kept.some((other) =>
      other.exit === choice.exit && (usesGpu(choice) || !usesGpu(other)) &&
      other.ms.cpu <= choice.ms.cpu &&
      other.ms.gpu <= choice.ms.gpu
    );
    if (!isWorse) kept.push(choice);
  }
  return kept;
}

/** What choices for all layers come to, in ms, embedding and output head included. */
export function pathMs(
  costs: Costs,
  choices: readonly LayerChoice[],
  vocab: Side,
): number {
  let ms = costs.embed[vocab] + costs.head[vocab];
  let side = vocab;
  for (const choice of choices) {
    ms += choice.ms[side];
    side = choice.exit;
  }
  return ms + transferMs(costs, side, vocab);
}
