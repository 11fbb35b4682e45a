/**
 * Starts a model with a GPU where it can, with less of one where its memory
 * does not last, and else without.
 *
 * @module
 */
import { GpuError, GpuMemoryError } from "../errors.ts";
import { type GpuPlanner, gpuPlanner } from "./plan_gpu.ts";
import type { LoadOptions } from "./load_options.ts";
import { deviceBytes } from "../places/gpu/memory/layout.ts";
import type { StartOptions } from "../places/start.ts";
import type { Team } from "../places/team.ts";
import type { PlacePlan } from "../plan/plan.ts";

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
 * @throws {GpuError} where a GPU is required, and cannot be used
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
