/**
 * Starts the places of a team: in workers where the sandbox permits, else in
 * the caller's thread. What the other way needs is not loaded.
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { GpuError, PlaceError, UsageError } from "../errors.ts";
import { missingForThreads } from "../platform/threads.ts";
import type { Model } from "../model/model.ts";
import { makePlan } from "../plan/make_plan.ts";
import { allPlaces, type PlacePlan, type Plan } from "../plan/plan.ts";
import type { Profile } from "../plan/profile.ts";
import type { MemoryOptions } from "./cpu/memory_estimate.ts";
import { loadKernels } from "../kernels/kernels.ts";
import { LoadProgress, type Progress } from "./load_progress.ts";
import { allShards, shardBytes } from "../model/shard.ts";
import { shardsOf } from "../plan/shards.ts";
import type { Team, TeamOptions } from "./team.ts";

/** How loading is watched and stopped. */
export interface LoadControl {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** What to load, and how; the CPU's plan is made here. */
export interface StartOptions extends Omit<TeamOptions, "plan"> {
  /** Orders the neurons, and says which are hot. */
  readonly profile?: Profile;
  /** What the GPU holds; the CPU places share the rest. */
  readonly gpuPlan?: PlacePlan;
  /** Most positions of all texts together, where these are more than a context */
  readonly cacheSize?: number;
  /** Bytes that weights, keys, values and scratch may take; what it does not hold is read from the file. */
  readonly memoryBudget?: number;
}

/**
 * Loads the model's weights onto the GPU, as far as `gpuPlan` says, and onto
 * `threads` CPU places of equal share. With 0 threads, or where workers or
 * shared memory are missing or not permitted, all runs in the caller's thread,
 * and the description says why.
 *
 * @throws {LimitError} where a share does not fit one WASM memory
 * @throws {GpuError} where the GPU cannot take its share
 */
export async function startTeam(
  source: ByteSource,
  threads: number,
  { profile, gpuPlan, memoryBudget, ...given }: StartOptions,
  control: LoadControl = {},
): Promise<Team> {
  const { model } = given;
  const options = { ...given, files: source.localFiles };
  const kernels = await loadKernels();
  const name = `WASM ${kernels.name}`;
  const residentsOf = async (places: number) => {
    if (memoryBudget === undefined) return undefined;
    const { residentsWithin } = await import("./cpu/memory_estimate.ts");
    const memory = memoryOptions(given, places);
    const { sparsity } = given;
    return residentsWithin(memoryBudget, model, memory, sparsity, profile);
  };
  const planFor = async (places: number): Promise<Plan> => {
    const residents = await residentsOf(places);
    if (residents && !source.localFiles) {
      throw new UsageError(
        `Cannot read weights of ${source.name} while the model runs, as a memory budget of ${memoryBudget} bytes requires: it is no local file`,
      );
    }
    const gpu = gpuPlan;
    return makePlan(model, undefined, {
      ...options,
      places,
      profile,
      gpu,
      residents,
    });
  };
  const describe = (plan: Plan, cpu: string) =>
    [plan.places.length > 0 ? `${name}, ${cpu}` : [], plan.gpu ? "WebGPU" : []]
      .flat().join(" + ");
  const inline = async (why: string) => {
    const plan = await planFor(1);
    const { startInline } = await import("./start_inline.ts");
    return await startInline(
      describe(plan, `inline${why}`),
      kernels.module,
      source,
      { ...options, plan },
      loadProgress(model, plan, control),
    );
  };
  if (threads === 0) return await inline("");
  let reason = missingForThreads();
  if (!reason) {
    const plan = await planFor(threads);
    const { length } = plan.places;
    const { ThreadTeam } = await import("./threads/thread_team.ts");
    try {
      return await ThreadTeam.start(
        describe(plan, `${length} thread${length > 1 ? "s" : ""}`),
        kernels.module,
        { ...options, plan },
        source,
        loadProgress(model, plan, control),
      );
    } catch (error) {
      if (error instanceof GpuError || !(error instanceof PlaceError)) {
        throw error;
      }
      reason = error.message;
    }
  }
  return await inline(` (${reason})`);
}

function memoryOptions(
  { limits, cacheType, cacheSize = 0 }: StartOptions,
  threads: number,
): MemoryOptions {
  const { tokens } = limits;
  const contextSize = Math.max(limits.contextSize, cacheSize);
  return { contextSize, threads, batchSize: tokens, cacheType };
}

function loadProgress(
  model: Model,
  plan: Plan,
  { onProgress, signal }: LoadControl,
): LoadProgress {
  let total = 0;
  for (const place of allPlaces(plan)) {
    for (const shard of allShards(shardsOf(model, place))) {
      total += shardBytes(shard);
    }
  }
  return new LoadProgress(total, onProgress, signal);
}
