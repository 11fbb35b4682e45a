/** The GPU's place: a module that is imported only where there is one. */
import type { ByteSource } from "../bytes/byte_source.ts";
import { Opened } from "../platform/opened.ts";
import { GpuPlace, type GpuPlaceOptions } from "./gpu/gpu_place.ts";
import { selfTestGpu } from "./gpu_self_test.ts";
import { fill } from "./load_places.ts";
import { LoadProgress } from "./load_progress.ts";
import type { LayerCounts } from "./stats.ts";
import type { TeamOptions } from "./team.ts";

/**
 * Opens the GPU's place of a plan, and checks its kernels before any weights
 * go there.
 *
 * @throws {GpuError} where there is no GPU, or no room on it, or it computes wrongly
 */
export async function openGpuPlace(
  options: TeamOptions,
  counts?: LayerCounts,
): Promise<GpuPlace> {
  await using opened = new Opened();
  const place = opened.use(
    await GpuPlace.open({ ...gpuOptions(options), counts }),
  );
  await selfTestGpu(options, async (source, small) => {
    const { device } = place;
    const own = await GpuPlace.open({ ...gpuOptions(small), device });
    await fill(own, source, new LoadProgress(0));
    await own.ready();
    return own;
  });
  opened.move();
  return place;
}

function gpuOptions(options: TeamOptions): GpuPlaceOptions {
  const { plan, gpuBytes } = options;
  return { ...options, plan: plan.gpu!, budgetBytes: gpuBytes };
}

/**
 * Loads the GPU's place of a plan in the caller's thread.
 *
 * @throws {GpuError} where the GPU cannot take it
 */
export async function loadGpuPlace(
  source: ByteSource,
  options: TeamOptions,
  progress: LoadProgress,
): Promise<GpuPlace> {
  await using opened = new Opened();
  const place = opened.use(await openGpuPlace(options));
  await fill(place, source, progress);
  await place.ready();
  await place.measure();
  opened.move();
  return place;
}
