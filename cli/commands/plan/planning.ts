/**
 * A plan for a machine, with what it is compared to.
 *
 * @module
 */
import type { Sparsity } from "../../../mod.ts";
import {
  type Costs,
  costsOf,
  deviceBytes,
  type Firing,
  type KnownMachine,
  kvPositionBytes,
  layerBytes,
  type PlacePlan,
  powerInferSplit,
  predict,
  type Prediction,
  type Profile,
  type Residents,
  type Solution,
  solve,
  uniformSplit,
} from "../../../plan.ts";
import type { Model } from "../../../gguf.ts";
import type { CacheType } from "../../../mod.ts";

/** What to plan. */
export interface PlanRequest {
  /** What to call the model */
  readonly name: string;
  readonly model: Model;
  readonly machine: KnownMachine;
  readonly sparsity: Sparsity;
  readonly firing: readonly Firing[];
  /** What the firing rests on, for people */
  readonly firingSource: string;
  readonly profile?: Profile;
  /** Bytes of the GPU that may be taken */
  readonly budget: number;
  readonly gpuLayers?: number;
  readonly contextSize: number;
  readonly batchSize: number;
  readonly cacheType: CacheType;
  /** Positions of the past that a token reads */
  readonly positions: number;
  /** What a memory budget holds of each layer, where it does not hold all */
  readonly residents?: Residents;
}

/** A plan, and what is expected of it and of others. */
export interface PlanReport extends PlanRequest, Solution {
  /** Bytes on the GPU, by layer; what belongs to none comes on top */
  readonly layerBytes: readonly number[];
  /** What is expected of other splits, by name */
  readonly others: Readonly<Record<string, Prediction>>;
}

/** Positions that a token is taken to read, where the context has as many. */
export const typicalPositions = 512;

/**
 * Plans, and compares.
 *
 * @throws {LimitError} where `neurons` do not fit the budget
 */
export function plan(
  request: PlanRequest,
  neurons?: readonly Uint32Array[],
): PlanReport {
  const { model, budget, gpuLayers } = request;
  const costs = planCosts(request);
  const bytesOf = bytesFor(request);
  const limits = { budget, bytesOf };
  const solution = request.machine.gpu
    ? solve(model, costs, { ...limits, gpuLayers, neurons })
    : { bytes: 0, prediction: predict(model, costs) };
  const others: Record<string, Prediction> = {
    "the CPU alone": predict(model, costs),
  };
  if (request.machine.gpu) {
    others["the best split that treats layers alike"] =
      uniformSplit(model, costs, limits).prediction;
    others["most activations on the GPU, as PowerInfer"] =
      powerInferSplit(model, costs, limits).prediction;
  }
  return {
    ...request,
    ...solution,
    layerBytes: layerBytes(model, solution.gpu, bytesOf),
    others,
  };
}

/** What is expected of a mode's own best plan. */
export function predictBest(request: PlanRequest): Prediction {
  const { model, budget, gpuLayers, machine } = request;
  const costs = planCosts(request);
  return machine.gpu
    ? solve(model, costs, { budget, gpuLayers, bytesOf: bytesFor(request) })
      .prediction
    : predict(model, costs);
}

/** Tokens in a second. */
export function tokensPerSecond({ ms }: Prediction): number {
  return 1000 / ms;
}

function planCosts(request: PlanRequest): Costs {
  return costsOf(request.model, {
    ...request,
    positionBytes: positionBytes(request),
  });
}

function bytesFor(request: PlanRequest): (gpu: PlacePlan) => number {
  const { batchSize, contextSize } = request;
  const limits = { tokens: Math.min(batchSize, contextSize), contextSize };
  return (plan) => deviceBytes({ ...request, plan, limits }).all;
}

function positionBytes({ cacheType, model }: PlanRequest): number {
  return kvPositionBytes(cacheType, model.headSize);
}
