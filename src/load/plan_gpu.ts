/**
 * Which share of a model the GPU takes on this machine: asks whether there is
 * one, measures both sides, and lets the planner decide. Where the GPU's memory
 * does not last, it takes less, and else nothing.
 */
import { GpuError, GpuMemoryError, UsageError } from "../errors.ts";
import { isGpuWorth } from "./gpu_worth.ts";
import type { GpuMode, LoadOptions } from "./load_options.ts";
import { kvPositionBytes } from "../places/cache_type.ts";
import { findAdapter, nameOf } from "../places/gpu/device/device.ts";
import { deviceBytes } from "../places/gpu/memory/layout.ts";
import { measureMachine } from "../places/measure_machine.ts";
import type { StartOptions } from "../places/start.ts";
import type { Team } from "../places/team.ts";
import { checkGpuIndex } from "../plan/gpu_index.ts";
import type { Machine } from "../plan/machine.ts";
import { type GpuOptions, makePlan } from "../plan/make_plan.ts";
import type { PlacePlan } from "../plan/plan.ts";

/** Positions of the past that a plan counts on, where the context has as many. */
const plannedPositions = 1024;

/**
 * What is tried of the bytes that a device had no memory for. WebGPU does not
 * tell how much there is, so where nobody says, it is found by trying.
 */
const lessMemory = 0.75;

/** Times that less is tried, until a twentieth is left. */
const tries = 10;

/**
 * Plans the GPU's share, and starts.
 *
 * @throws {GpuError} where a GPU is required, and there is none, or nothing fits
 * @throws {UsageError} where a GPU is required for what only the CPU does
 * @throws {LimitError} where a given index does not fit
 */
export async function startWithGpu(
  places: StartOptions,
  threads: number,
  options: LoadOptions,
  start: (gpuPlan?: PlacePlan) => Promise<Team>,
  warn: (message: string) => void,
): Promise<Team> {
  let { gpuBytes } = places;
  let planner: Promise<GpuPlanner | undefined> | undefined;
  for (let left = tries;; left--) {
    let plan: PlacePlan | undefined;
    try {
      planner ??= gpuPlanner(places, threads, options);
      plan = (await planner)?.(gpuBytes);
      return await start(plan);
    } catch (error) {
      if (!(error instanceof GpuError)) throw error;
      const isOurs = places.gpuBytes === undefined && !options.gpuPlan;
      if (error instanceof GpuMemoryError && isOurs && plan && left > 0) {
        const planned = deviceBytes({ ...places, plan }).all;
        gpuBytes = Math.floor(lessMemory * planned);
        warn(`${error.message}; trying ${gpuBytes} bytes`);
      } else if (options.gpu === "require") throw error;
      else {
        warn(`${error.message}; going on with the CPU`);
        return await start();
      }
    }
  }
}

/** The GPU's share of a model within so many bytes, or as many as there are; undefined where it takes none. */
type GpuPlanner = (gpuBytes?: number) => PlacePlan | undefined;

/** Looks for a GPU and measures it; undefined where it takes no share. */
async function gpuPlanner(
  places: StartOptions,
  threads: number,
  options: LoadOptions,
): Promise<GpuPlanner | undefined> {
  const { gpu: mode, gpuIndex, gpuPlan } = options;
  const { model } = places;
  const isRequired = mode === "require";
  const reason = reasonForCpu(places);
  if (reason) {
    if (isRequired) {
      throw new UsageError(`Cannot use the GPU: only the CPU ${reason}`);
    }
    return undefined;
  }
  const found = await usableGpu(isRequired);
  if (!found) {
    if (isRequired) throw new GpuError("Cannot use a GPU: there is none here");
    return undefined;
  }
  if (gpuPlan) return () => gpuPlan;
  if (gpuIndex) checkGpuIndex(gpuIndex, model);
  const machine = found.isSoftware
    ? undefined
    : await measureMachine(model, threads, true, {
      sparsity: places.sparsity,
      ratesOnly: true,
    });
  return (gpuBytes) => {
    const share = (machine: Machine) =>
      solveFor(machine, { ...places, gpuBytes }, options);
    const measured = machine && share(machine);
    if (measured || !isRequired) return measured;
    // One in software, or so slow that it is best left out, is required all the same.
    const eager = share(eagerMachine);
    if (eager) return eager;
    throw new GpuError(
      `Cannot use the GPU: no part of the model fits the budget of ${gpuBytes} bytes`,
    );
  };
}

/** A machine whose GPU costs next to nothing: it is given all that there is room for. */
const eagerMachine: Machine = {
  cpu: { stream: 1e6, pick: 1e6 },
  gpu: {
    stream: 1e9,
    dispatch: 0,
    readBack: 0,
    transfer: 1e9,
    memory: Infinity,
  },
};

function solveFor(
  machine: Machine,
  { model, sparsity, profile, limits, cacheType, gpuBytes }: StartOptions,
  { gpuLayers, gpuIndex }: LoadOptions,
): PlacePlan | undefined {
  const gpu: GpuOptions = {
    positions: Math.min(limits.contextSize, plannedPositions),
    positionBytes: kvPositionBytes(cacheType, model.headSize),
    budget: gpuBytes ?? Infinity,
    bytesOf: (plan) =>
      deviceBytes({ model, plan, sparsity, limits, cacheType }).all,
    gpuLayers,
    neurons: gpuIndex?.layers,
  };
  return makePlan(model, machine, { places: 1, sparsity, profile, gpu }).gpu;
}

/** A GPU, or what stands in for one. */
export interface FoundGpu {
  /** For people */
  readonly name: string;
  /** Whether the CPU does its work */
  readonly isSoftware: boolean;
}

/** The GPU of this machine; undefined where there is none. */
export async function findGpu(): Promise<FoundGpu | undefined> {
  const adapter = await findAdapter();
  if (!adapter) return undefined;
  const { info } = adapter;
  return { name: nameOf(info), isSoftware: info.isFallbackAdapter };
}

/** The GPU that takes part in running a model of so many bytes; undefined where none does. */
export async function gpuFor(
  mode: GpuMode,
  bytes: number,
): Promise<FoundGpu | undefined> {
  return isGpuWorth({ gpu: mode }, bytes)
    ? await usableGpu(mode === "require")
    : undefined;
}

/** A GPU, one in software only where it is required. */
async function usableGpu(isRequired: boolean): Promise<FoundGpu | undefined> {
  const found = await findGpu();
  return found?.isSoftware && !isRequired ? undefined : found;
}

/** What only the CPU does, of what is requested. */
function reasonForCpu(places: StartOptions): string | undefined {
  if (places.memoryBudget !== undefined) return "reads weights from the file";
  if (places.countNeurons) return "counts neurons";
  if (places.keepFfnInputs) return "keeps normed states";
  if (places.measureRecall) return "measures recall";
}
