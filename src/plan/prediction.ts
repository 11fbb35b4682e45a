/**
 * How long a token is expected to take under a plan: a walk through the schedule
 * that the engine will go through, with what each costs.
 */
import { expertSize, heldExperts } from "../model/experts.ts";
import type { Model } from "../model/model.ts";
import {
  type Costs,
  exchangeMs,
  type LayerCosts,
  type SideMs,
} from "./costs.ts";
import {
  type IndexSet,
  lengthOf,
  listOf,
  noIndices,
  type Range,
} from "../model/index_set.ts";
import { type PlacePlan, splitEvenly } from "./plan.ts";
import { scheduleOf, type Side, type Stage } from "./schedule.ts";

/** The experts of a layer of whom the GPU has neurons. */
export interface GpuExperts {
  /** How many they are */
  readonly held: number;
  /** How many of them a token chooses, on average */
  readonly chosen: number;
  /** Whether the GPU has all of their neurons */
  readonly isWhole: boolean;
}

/** What is expected of one layer. */
export interface LayerPrediction {
  /** Who holds heads */
  readonly attention: readonly Side[];
  /** Share of the neurons on the GPU */
  readonly hotShare: number;
  /** Share of all activations of the layer that happen on the GPU */
  readonly coverage: number;
  /** Where tokens choose among experts: those of whom the GPU has neurons */
  readonly experts?: GpuExperts;
  /** What the CPU computes, in ms; some of it while the GPU does */
  readonly cpuMs: number;
  /** What the GPU computes, in ms */
  readonly gpuMs: number;
  /** What handing over takes, in ms */
  readonly exchangeMs: number;
  /** All of it, in ms */
  readonly ms: number;
}

/** What is expected of a token. */
export interface Prediction {
  /** Of each layer */
  readonly layers: readonly LayerPrediction[];
  /** Embedding and output head, in ms */
  readonly vocabMs: number;
  /** Times that the CPU waits for a residual of the GPU */
  readonly readBacks: number;
  /** All of it, in ms */
  readonly ms: number;
}

/**
 * Predicts a token. `gpu` says what the GPU holds; the CPU, as one, holds the
 * rest.
 */
export function predict(
  model: Model,
  costs: Costs,
  gpu?: PlacePlan,
): Prediction {
  const { places: [rest] } = splitEvenly(model, 1, undefined, gpu);
  const schedule = scheduleOf(model, { places: [rest], gpu });
  const [embed, ...others] = schedule.map((stage) =>
    stageMs(costs, stage, sideMs(model, costs, stage, rest, gpu))
  );
  const head = others.pop()!;
  const layers = costs.layers.map((layer, i): LayerPrediction => {
    const [attention, ffn] = others.slice(2 * i, 2 * i + 2);
    const sum = (name: keyof StageMs) => attention[name] + ffn[name];
    const neurons = gpu?.parts[i].neurons ?? noIndices;
    const held = sumOver(layer.active, neurons);
    return {
      attention: schedule[1 + 2 * i].sides,
      hotShare: lengthOf(neurons) / model.feedForwardSize,
      coverage: held / layer.active.reduce((a, b) => a + b, 0) || 0,
      experts: model.routing && expertsOnGpu(model, layer, neurons),
      cpuMs: sum("cpu"),
      gpuMs: sum("gpu"),
      exchangeMs: sum("exchange"),
      ms: sum("total"),
    };
  });
  const vocabMs = embed.total + head.total;
  return {
    layers,
    vocabMs,
    readBacks: schedule.reduce(
      (sum, { before, sides, squares }) =>
        sum + (before === "residual-to-cpu" ? 1 : 0) +
        (sides.length > 1 ? squares.length : 0),
      0,
    ),
    ms: layers.reduce((total, { ms }) => total + ms, vocabMs),
  };
}

/** The experts that a set has neurons of, and how many of them a token chooses. */
function expertsOnGpu(
  model: Model,
  { chosen }: LayerCosts,
  neurons: IndexSet,
): GpuExperts {
  const held = lengthOf(neurons) > 0 ? heldExperts(model, neurons) : [];
  return {
    held: held.length,
    chosen: held.reduce((sum, expert) => sum + chosen[expert], 0),
    isWhole: lengthOf(neurons) === held.length * expertSize(model),
  };
}

/** Some neurons, and what they cost one side. */
interface Work {
  readonly count: number;
  readonly ms: number;
}

/** What each side takes for its neurons of a layer, in ms; they compute at the same time. */
export function ffnMs({ ffn }: LayerCosts, cpu: Work, gpu: Work): SideMs {
  return {
    cpu: cpu.count > 0 ? ffn.cpu + cpu.ms : 0,
    gpu: gpu.count > 0 ? ffn.gpu + gpu.ms : 0,
  };
}

interface StageMs extends SideMs {
  readonly exchange: number;
  readonly total: number;
}

function stageMs(costs: Costs, stage: Stage, ms: SideMs): StageMs {
  const { kind, layer, sides, before, choices, after } = stage;
  const isShared = sides.length > 1 && (kind === "attention" || kind === "ffn");
  const exchange = (before ? exchangeMs(costs, before) : 0) +
    (choices ? exchangeMs(costs, choices) : 0) +
    (isShared ? costs.layers[layer].squares[kind] : 0) +
    (after ? exchangeMs(costs, after) : 0);
  return { ...ms, exchange, total: exchange + Math.max(ms.cpu, ms.gpu) };
}

/** What each side computes of a stage, in ms. */
function sideMs(
  model: Model,
  costs: Costs,
  { kind, layer }: Stage,
  cpu: PlacePlan,
  gpu?: PlacePlan,
): SideMs {
  const shared = (ms: SideMs, all: number, heldBy: (p: PlacePlan) => Range) => {
    const shareOf = (ms: number, place?: PlacePlan) => {
      const held = place ? lengthOf(heldBy(place)) : 0;
      return held > 0 ? ms * held / all : 0;
    };
    return { cpu: shareOf(ms.cpu, cpu), gpu: shareOf(ms.gpu, gpu) };
  };
  const layerCosts = costs.layers[layer];
  switch (kind) {
    case "embed":
    case "head":
      return shared(costs[kind], model.vocabSize, ({ vocab }) => vocab);
    case "attention":
      return shared(
        layerCosts.attention,
        model.headCount,
        ({ parts }) => parts[layer].heads,
      );
    case "ffn": {
      const { neurons } = layerCosts;
      return ffnMs(
        layerCosts,
        workOf(neurons.cpu, cpu.parts[layer].neurons),
        workOf(neurons.gpu, gpu?.parts[layer].neurons ?? noIndices),
      );
    }
  }
}

function workOf(ms: Float64Array, neurons: IndexSet): Work {
  return { count: lengthOf(neurons), ms: sumOver(ms, neurons) };
}

/** The sum of the values of some neurons. */
export function sumOver(values: Float64Array, neurons: IndexSet): number {
  return listOf(neurons).reduce((sum, id) => sum + values[id], 0);
}
