/**
 * What running a model would take in memory, from its header alone, and what of
 * it a budget holds.
 */
import type { Model } from "../../model/model.ts";
import { pagePositions, pagesFor } from "../batch.ts";
import type { CacheType } from "../cache_type.ts";
import { cpuPositionBytes } from "./kv_cache.ts";
import { packedBytes, packedSliceBytes } from "../../kernels/packing.ts";
import { layerEntries, tensorSchemas } from "../../model/schema.ts";
import {
  type ExpertBudget,
  residentExperts,
} from "../../plan/expert_budget.ts";
import {
  maskedMatrices,
  type NeuronBudget,
  residentNeurons,
} from "../../plan/neuron_budget.ts";
import type { Profile } from "../../plan/profile.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import { screenBytes } from "./head_screen.ts";
import { stagingBytes } from "./weights.ts";
import { shardsOf } from "../../plan/shards.ts";
import { lengthOf } from "../../model/index_set.ts";
import { stackDepth } from "../../plan/groups.ts";
import {
  kvHeadsOf,
  type PlacePlan,
  type Residents,
  splitEvenly,
} from "../../plan/plan.ts";

/** What the estimate depends on. */
export interface MemoryOptions {
  /** Positions of one sequence. */
  readonly contextSize: number;
  /** Places that share the model; 0 counts as 1. */
  readonly threads: number;
  /** Most tokens in one step. */
  readonly batchSize: number;
  /** How keys and values are stored. */
  readonly cacheType: CacheType;
}

/** Bytes, all threads together. */
export interface MemoryEstimate {
  /** Weights, repacked; what every thread needs is counted for each. */
  readonly weights: number;
  /** Keys and values of one full sequence. */
  readonly kvCache: number;
  /** Activations, staging, and what screens the output head, to within some per cent. */
  readonly scratch: number;
}

/** Estimates the memory that a model takes. */
export function estimateMemory(
  model: Model,
  options: MemoryOptions,
): MemoryEstimate {
  const { places } = splitEvenly(model, Math.max(1, options.threads));
  const sum = (bytesOf: (plan: PlacePlan) => number) =>
    places.reduce((total, plan) => total + bytesOf(plan), 0);
  return {
    weights: sum((plan) => packedBytes(shardsOf(model, plan))),
    kvCache: sum((plan) => kvBytes(model, plan, options)),
    scratch: sum((plan) => scratchBytes(model, plan, options)),
  };
}

/**
 * What of a model is in memory within a budget of so many bytes: some experts,
 * or of a model without them some neurons; undefined where all is. A profile
 * says which are needed most often, the mode which rows of neurons a mask asks
 * for.
 *
 * @throws {LimitError} where the budget is too small
 */
export function residentsWithin(
  budget: number,
  model: Model,
  options: MemoryOptions,
  sparsity: Sparsity,
  profile?: Profile,
): Residents | undefined {
  if (model.routing) {
    const experts = residentExperts(
      model,
      expertBudget(budget, model, options),
      profile,
    );
    return experts && { experts };
  }
  const neurons = residentNeurons(
    model,
    neuronBudget(budget, model, options, sparsity),
    profile,
  );
  return neurons && { neurons };
}

/** What rows of neurons take that a mask asks for, and what is left for them. */
function neuronBudget(
  budget: number,
  model: Model,
  options: MemoryOptions,
  sparsity: Sparsity,
): NeuronBudget {
  const { weights, kvCache, scratch } = estimateMemory(model, options);
  const { places } = splitEvenly(model, Math.max(1, options.threads));
  const matrices = model.layers.map((layer) => maskedMatrices(layer, sparsity));
  const { feedForwardSize } = model;
  const layerBytes = model.layers.map(() => 0);
  for (const place of places) {
    shardsOf(model, place).layers.forEach((layer, i) => {
      for (const name of matrices[i]) {
        layerBytes[i] += packedSliceBytes(layer[name]!);
      }
    });
  }
  const all = layerBytes.reduce((sum, bytes) => sum + bytes, 0);
  const tokens = Math.min(options.batchSize, options.contextSize);
  return {
    budget,
    fixed: weights - all + kvCache + scratch,
    // What is computed of the rows in memory stands apart first.
    scratch: 4 * tokens * feedForwardSize,
    neuronBytes: layerBytes.map((bytes) => bytes / feedForwardSize),
    matrices,
    places: places.map(({ parts: [{ neurons }] }) => lengthOf(neurons)),
  };
}

/** What the experts of a model take, and what is left for them. */
function expertBudget(
  budget: number,
  model: Model,
  options: MemoryOptions,
): ExpertBudget {
  const { weights, kvCache, scratch } = estimateMemory(model, options);
  const expertBytes = model.layers.map(() => 0);
  for (const place of splitEvenly(model, Math.max(1, options.threads)).places) {
    shardsOf(model, place).layers.forEach((layer, i) => {
      for (const [name, shard] of layerEntries(layer)) {
        const { perExpert, shape: [, rows] } = tensorSchemas[name];
        if (!perExpert || !rows) continue;
        expertBytes[i] += packedSliceBytes(shard) / model.expertCount;
      }
    });
  }
  const experts = expertBytes.reduce((sum, bytes) => sum + bytes, 0);
  return {
    budget,
    fixed: weights - model.expertCount * experts + kvCache + scratch,
    expertBytes,
  };
}

function kvBytes(
  model: Model,
  plan: PlacePlan,
  options: MemoryOptions,
): number {
  const heads = plan.parts.reduce(
    (n, part) => n + lengthOf(kvHeadsOf(model, part.heads)),
    0,
  );
  const positions = pagesFor(options.contextSize) * pagePositions;
  return heads * positions *
    cpuPositionBytes(options.cacheType, model.headSize);
}

function scratchBytes(
  model: Model,
  plan: PlacePlan,
  options: MemoryOptions,
): number {
  const tokens = Math.min(options.batchSize, options.contextSize);
  const widest = (lengths: number[]) => Math.max(...lengths);
  const heads = widest(plan.parts.map((part) => lengthOf(part.heads))) *
    model.headSize;
  const gathered = plan.parts.map((part) => part.inputs ?? part);
  const allHeads = widest(gathered.map(({ heads }) => lengthOf(heads))) *
    model.headSize;
  const allNeurons = widest(
    gathered.map(({ neurons }, layer) =>
      model.layers[layer].ffn_down ? lengthOf(neurons) : 0
    ),
  );
  const kvHeads =
    widest(plan.parts.map((part) => lengthOf(kvHeadsOf(model, part.heads)))) *
    model.headSize;
  // Tokens have a row of values for each expert that they choose.
  const { routing, expertCount } = model, used = routing?.used ?? 1;
  const neurons = widest(plan.parts.map((part) => lengthOf(part.neurons))) /
    expertCount;
  // Inputs of products are held as f32 and quantised, to some 9 bits each; results as f32.
  const inputs = 2 * model.hiddenSize + allHeads +
    used * (neurons + allNeurons / expertCount) +
    (routing ? model.hiddenSize : 0);
  const results = stackDepth(model) * model.hiddenSize + lengthOf(plan.vocab) +
    heads + 2 * kvHeads + 2 * neurons + (routing ? model.hiddenSize : 0);
  return tokens * Math.ceil(inputs * (4 + 9 / 8) + results * 4) +
    stagingBytes + screenBytes(shardsOf(model, plan).output, model, "auto");
}
