/**
 * What a token costs on either side, by tensor. Decoding is limited by how
 * fast bytes are read, so what a tensor costs is the bytes that a token is expected
 * to read of it, over the rate at which that side reads them. What a layer takes
 * beside is one number on the CPU, and the kernels that are started on a GPU.
 */
import { ggmlTypes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import { isSparse } from "../model/activation.ts";
import type { LayerTensors, Model } from "../model/model.ts";
import { layerEntries, tensorSchemas } from "../model/schema.ts";
import { expertSize } from "../model/experts.ts";
import { chosenShare, expertShares } from "./firing.ts";
import type { Machine } from "./machine.ts";
import type { Firing } from "./profile.ts";
import {
  type Exchange,
  exchangeSides,
  type Side,
  type Squares,
  squaresOf,
  type StageKind,
} from "./schedule.ts";
import type { Sparsity } from "./sparsity.ts";

/** What a token is computed with. */
export interface CostOptions {
  /** How fast either side is */
  readonly machine: Machine;
  /** Which neurons are computed */
  readonly sparsity: Sparsity;
  /** How often all neurons of each layer fire */
  readonly firing: readonly Firing[];
  /** Positions whose keys and values a token reads */
  readonly positions: number;
  /** Bytes of the key and value of one position in one KV head */
  readonly positionBytes: number;
}

/** Milliseconds on either side; infinite where there is no GPU. */
export interface SideMs {
  /** On the CPU, all threads together */
  readonly cpu: number;
  /** On the GPU */
  readonly gpu: number;
}

/** What attention and the neurons of a layer cost, in ms. */
export interface LayerCosts {
  /** All heads, with their keys and values */
  readonly attention: SideMs;
  /** What a side spends on the FFN before its first neuron */
  readonly ffn: SideMs;
  /** What it takes to norm as one what both sides computed of a stage; 0 where that is not asked for */
  readonly squares: Readonly<Record<"attention" | "ffn", number>>;
  /** Each neuron, by the file's index, `[feedForwardSize]` */
  readonly neurons: Readonly<Record<Side, Float64Array>>;
  /** Share of tokens for which each neuron fires, `[feedForwardSize]` */
  readonly active: Float64Array;
  /** Share of tokens that choose each expert, `[expertCount]` */
  readonly chosen: Float64Array;
}

/** What the layers and the vocabulary cost, in ms. */
export interface Costs {
  /** Of each layer */
  readonly layers: readonly LayerCosts[];
  /** The embedding of one token */
  readonly embed: SideMs;
  /** All rows of the output head; on the GPU, the way of the logits back too */
  readonly head: SideMs;
  /** Handing a residual or a sum to the GPU */
  readonly toGpu: number;
  /** Waiting for a residual from the GPU */
  readonly toCpu: number;
}

/** Kernels that the GPU starts: most norms and sums are fused into others. */
const dispatches = {
  /** q, k and v; rotation and storing; attention; output */
  attention: 4,
  /** Gate and up; down */
  ffn: 2,
  /** Gate by itself, where up is computed for some neurons */
  gate: 1,
  /** Scores of experts, and which are chosen */
  router: 2,
  embed: 1,
  head: 1,
  /** Adding what the CPU computed */
  exchange: 1,
};

/** Kernels of both halves of a layer, with those of norms that are not fused. */
function layerDispatches(
  { norm, qkNorm }: Model,
  layer: LayerTensors,
  isDense: boolean,
): { attention: number; ffn: number } {
  const { attn_sub_norm, post_attention_norm } = layer;
  const { ffn_sub_norm, post_ffw_norm } = layer;
  const isCentred = norm === "layer";
  const count = (...norms: unknown[]) => norms.filter(Boolean).length;
  return {
    attention: dispatches.attention + count(
      isCentred,
      qkNorm === "whole",
      attn_sub_norm,
      post_attention_norm,
    ),
    ffn: dispatches.ffn + count(isCentred, ffn_sub_norm, post_ffw_norm) +
      (layer.ffn_gate && !isDense ? dispatches.gate : 0) +
      (layer.ffn_gate_inp ? dispatches.router : 0),
  };
}

/**
 * Neurons that a predictor selects, over those that fire. PowerInfer computes
 * 15 to 20% of Bamboo-7B's neurons, of which 14.8% fire.
 */
const predictorExcess = 1.2;

/** What a token costs in each layer, and in embedding and head. */
export function costsOf(model: Model, options: CostOptions): Costs {
  const { cpu, gpu } = options.machine;
  const kernels = model.layers.map((layer) =>
    layerDispatches(model, layer, computesAll(model, options))
  );
  const gpuStream = gpu?.stream ?? 0;
  const started = (count: number) => count * (gpu?.dispatch ?? 0);
  const readMs = (bytes: number, rate = cpu.stream): SideMs => ({
    cpu: bytes / rate,
    gpu: bytes / gpuStream,
  });
  const { layerMs = 0 } = cpu;
  const transferMs = (floats: number) => 4 * floats / (gpu?.transfer ?? 0);
  const readBack = (floats: number) =>
    (gpu?.readBack ?? 0) + transferMs(floats);
  const onGpu = (ms: SideMs, count: number, extra = 0): SideMs => ({
    cpu: ms.cpu,
    gpu: ms.gpu + started(count) + extra,
  });
  const cacheBytes = model.attention.map(({ window = Infinity }) =>
    Math.min(options.positions, window) * model.kvHeadCount *
    options.positionBytes
  );
  const { headCount, kvHeadCount, headSize, feedForwardSize } = model;
  // What comes back for each
  const widths: Readonly<Record<Squares, number>> = {
    "qk-squares": (headCount + 2 * kvHeadCount) * headSize,
    "head-squares": headCount * headSize,
    "neuron-squares": feedForwardSize,
  };
  const squaresMs = (kind: StageKind, layer: number) =>
    squaresOf(model, kind, layer)
      .reduce((sum, of) => sum + readBack(widths[of]), 0);
  return {
    layers: model.layers.map((layer, i): LayerCosts => ({
      attention: onGpu(
        sumOf(
          readMs(attentionBytes(layer)),
          readMs(cacheBytes[i], cpu.cache),
          { cpu: layerMs / 2, gpu: 0 },
        ),
        kernels[i].attention,
      ),
      ffn: {
        cpu: layerMs / 2 + askedBytes(model, layer, options) / cpu.stream,
        gpu: started(kernels[i].ffn),
      },
      squares: {
        attention: squaresMs("attention", i),
        ffn: squaresMs("ffn", i),
      },
      ...neuronCosts(model, layer, options, options.firing[i]),
    })),
    embed: { cpu: 0, gpu: started(dispatches.embed) },
    head: onGpu(
      readMs(model.output.byteLength, cpu.head),
      dispatches.head,
      readBack(model.vocabSize),
    ),
    toGpu: transferMs(model.hiddenSize) + started(dispatches.exchange),
    toCpu: readBack(model.hiddenSize),
  };
}

function sumOf(...costs: readonly SideMs[]): SideMs {
  const total = (side: Side) => costs.reduce((sum, ms) => sum + ms[side], 0);
  return { cpu: total("cpu"), gpu: total("gpu") };
}

/** What a residual's exchange takes, in ms; between CPU places it is taken for free. */
export function exchangeMs(
  { toGpu, toCpu }: Costs,
  exchange: Exchange,
): number {
  const { from, to } = exchangeSides[exchange];
  return (from.includes("gpu") ? toCpu : 0) + (to.includes("gpu") ? toGpu : 0);
}

/** Bytes of a layer's tensors that are cut by heads. */
function attentionBytes(layer: LayerTensors): number {
  let bytes = 0;
  for (const [name, { byteLength }] of layerEntries(layer)) {
    const { shape } = tensorSchemas[name];
    if (shape.includes("q") || shape.includes("kv")) bytes += byteLength;
  }
  return bytes;
}

/** Bytes that say which neurons are computed, whichever they are: of the router, and of the first half of predictors. */
function askedBytes(
  model: Model,
  layer: LayerTensors,
  options: CostOptions,
): number {
  const { ffn_gate_inp, fc1 } = layer;
  return (ffn_gate_inp?.byteLength ?? 0) +
    (predicts(options, layer) ? chosenShare(model) * fc1!.byteLength : 0);
}

/** Bytes of one neuron's rows of gate and up, and of its row or column of down. */
export function neuronBytes(
  { ffn_gate, ffn_up, ffn_down, ffn_down_t }: LayerTensors,
  neurons: number,
): { gate: number; up: number; down: number } {
  const each = (tensor: TensorInfo) => tensor.byteLength / neurons;
  return {
    gate: ffn_gate ? each(ffn_gate) : 0,
    up: each(ffn_up),
    down: each((ffn_down ?? ffn_down_t)!),
  };
}

/**
 * Neurons of an expert that must stay together: those in a block of `ffn_down`,
 * where that is quantised by output.
 */
export function neuronBlock({ ffn_down }: LayerTensors): number {
  return ffn_down ? ggmlTypes[ffn_down.type].blockSize : 1;
}

/** Neurons that go to the GPU together, where no whole expert does: a block, and the same of all experts. */
export function neuronUnit(model: Model, layer: number): number {
  return model.expertCount * neuronBlock(model.layers[layer]);
}

/**
 * A neuron on the CPU reads its gate, and of up either what it needs, picked, or
 * all, streamed, whichever is less: the hot ones are streamed. Its row of down is
 * added up where it fires, in mode `dense` too. On the GPU it reads what it needs.
 * A `ffn_down` of outputs has no row of a neuron to pick, and is read as a whole.
 * All that is of an expert only for the tokens that choose it.
 */
function neuronCosts(
  model: Model,
  layer: LayerTensors,
  options: CostOptions,
  firing: Firing,
): Pick<LayerCosts, "neurons" | "active" | "chosen"> {
  const { machine: { cpu, gpu } } = options;
  const { sum = cpu.pick } = cpu;
  const count = model.feedForwardSize;
  const { gate, up, down } = neuronBytes(layer, count);
  const asked = (layer.fc2?.byteLength ?? 0) / count;
  const isDense = computesAll(model, options);
  const isPredicted = predicts(options, layer);
  const shares = expertShares(model, firing), size = expertSize(model);
  const neurons = {
    cpu: new Float64Array(count),
    gpu: new Float64Array(count),
  };
  const active = new Float64Array(count);
  firing.order.forEach((id, rank) => {
    active[id] = firing.active[rank];
    const chosen = shares[Math.floor(id / size)];
    const streamOrPick = (bytes: number, share: number) =>
      Math.min(chosen * bytes / cpu.stream, share * bytes / cpu.pick);
    const upShare = isDense || !layer.ffn_gate
      ? chosen
      : firing.gatePositive[rank];
    const downShare = isDense || layer.ffn_down ? chosen : active[id];
    neurons.gpu[id] = (chosen * gate + upShare * up + downShare * down) /
      (gpu?.stream ?? 0);
    const selected = Math.min(1, predictorExcess * active[id]);
    neurons.cpu[id] = (isPredicted && !isDense
      ? chosen * asked / cpu.stream + streamOrPick(gate + up, selected)
      : chosen * gate / cpu.stream + streamOrPick(up, upShare)) +
      (layer.ffn_down ? chosen * down / cpu.stream : active[id] * down / sum);
  });
  return { neurons, active, chosen: shares };
}

/** Whether every neuron is computed as a whole. */
function computesAll(
  { activation }: Model,
  { sparsity }: Pick<CostOptions, "sparsity">,
): boolean {
  return sparsity.mode === "dense" || !isSparse(activation);
}

/** Whether the CPU asks a layer's predictor; the GPU computes what it holds without asking. */
function predicts({ sparsity }: CostOptions, { fc1 }: LayerTensors): boolean {
  return sparsity.mode === "predictor" && fc1 !== undefined;
}
