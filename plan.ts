/**
 * Which neurons and heads run where, what that takes and how long it takes:
 * profiles of neurons, machines, budgets, costs and PowerInfer's files of them.
 *
 * @example
 * ```ts
 * import { describeModel, readGguf } from "@culm/culm/gguf";
 * import { estimateMemory } from "@culm/culm/plan";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * const model = describeModel(await readGguf(tinyBamboo()));
 * const cache = { contextSize: 512, cacheType: "f16" } as const;
 * console.log(estimateMemory(model, { ...cache, batchSize: 128, threads: 2 }));
 * ```
 *
 * @module
 */
export type { Rates } from "./src/plan/machine.ts";
export {
  assumedFiring,
  bambooCdf,
  type Distribution,
  firingOfLayers,
} from "./src/plan/firing.ts";
export {
  type CostOptions,
  type Costs,
  costsOf,
  type LayerCosts,
  type SideMs,
} from "./src/plan/costs.ts";
export { layerBytes } from "./src/plan/gpu_plan.ts";
export { type IndexSet, listOf, type Range } from "./src/model/index_set.ts";
export {
  assumedGpu,
  type Cpu,
  type CpuRates,
  type GpuRates,
  type KnownMachine,
  knownMachines,
  type Machine,
} from "./src/plan/machine.ts";
export type { ResidentExperts } from "./src/plan/expert_budget.ts";
export type {
  LayerNeurons,
  ResidentNeurons,
} from "./src/plan/neuron_budget.ts";
export type {
  Part,
  PartInputs,
  PlacePlan,
  Residents,
} from "./src/plan/plan.ts";
export {
  type GpuExperts,
  type LayerPrediction,
  predict,
  type Prediction,
} from "./src/plan/prediction.ts";
export { type Solution, solve, type SolveOptions } from "./src/plan/solve.ts";
export {
  powerInferSplit,
  splitByFrequency,
  type SplitOptions,
  uniformSplit,
} from "./src/plan/splits.ts";
export {
  type Packing,
  type Packings,
  packingsOf,
} from "./src/places/packed_tensors.ts";
export type { Side } from "./src/plan/schedule.ts";
export {
  type ActivationCdf,
  activationCdf,
  activationShare,
  checkProfile,
  type Firing,
  type LayerProfile,
  meanActivationShare,
  mergeProfiles,
  type Profile,
} from "./src/plan/profile.ts";
export {
  mostProfileTokens,
  type ProfileFile,
  type ProfileProgress,
  readProfile,
  writeProfile,
} from "./src/plan/profile_file.ts";
export {
  checkGpuIndex,
  type GpuIndex,
  readGpuIndex,
  writeGpuIndex,
} from "./src/plan/gpu_index.ts";
export {
  activationFileLayer,
  type PowerInferProfileOptions,
  readPowerInferProfile,
} from "./src/plan/powerinfer_profile.ts";
export { profileOf } from "./src/plan/own_profile.ts";
export { reorderNeurons } from "./src/plan/reorder.ts";
export {
  measureMachine,
  type MeasureOptions,
} from "./src/places/measure_machine.ts";
export {
  deviceBytes,
  type LayoutOptions,
} from "./src/places/gpu/memory/layout.ts";
export type { BatchLimits } from "./src/places/batch.ts";
export type { GpuCounts, GpuStats } from "./src/places/gpu_stats.ts";
export { kvPositionBytes } from "./src/places/cache_type.ts";
export {
  estimateMemory,
  type MemoryEstimate,
  type MemoryOptions,
  residentsWithin,
} from "./src/places/cpu/memory_estimate.ts";
export { findGpu, type FoundGpu, gpuFor } from "./src/load/plan_gpu.ts";
export type { GpuMode } from "./src/load/load_options.ts";
