/** Places that load in the caller's thread. */
import type { ByteSource } from "../bytes/byte_source.ts";
import { CpuPlace } from "./cpu/cpu_place.ts";
import type { Counters } from "./cpu/options.ts";
import { GpuPlace, type GpuPlaceOptions } from "./gpu/gpu_place.ts";
import { selfTestGpu } from "./gpu_self_test.ts";
import { LoadProgress } from "./load_progress.ts";
import { allShards, readRows } from "../model/shard.ts";
import { hotRowsOf, withHotRows } from "../plan/hot_rows.ts";
import { sumOfRates } from "../plan/machine.ts";
import { LayerCounts } from "./stats.ts";
import type { TeamOptions } from "./team.ts";
import { Opened } from "../platform/opened.ts";
import { TimeSlice } from "../platform/time_slice.ts";

/** Loads every CPU place of a plan in the caller's thread, each with a memory of its own. */
export async function loadCpuPlaces(
  module: WebAssembly.Module,
  source: ByteSource,
  options: TeamOptions,
  progress: LoadProgress,
  { neurons, ffnInputs }: Omit<Counters, "layers"> = {},
): Promise<CpuPlace[]> {
  const layers = options.model.layers.length;
  const places = options.plan.places.map((plan, i) =>
    new CpuPlace(module, { ...options, plan }, {
      layers: new LayerCounts(layers),
      neurons,
      ffnInputs: i === 0 ? ffnInputs : undefined,
    })
  );
  for (const place of places) {
    await fill(place, source, progress);
    place.ready();
  }
  const rates = sumOfRates(places.map((place) => place.rates));
  const { model, plan } = options;
  withHotRows(model, plan, rates, options).places.forEach((plan, i) =>
    places[i].setHotRows(hotRowsOf(plan))
  );
  return places;
}

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

export async function fill(
  place: CpuPlace | GpuPlace,
  source: ByteSource,
  progress: LoadProgress,
): Promise<void> {
  const spares: ArrayBuffer[] = [];
  const slice = new TimeSlice();
  for (const shard of allShards(place.shards)) {
    for await (const rows of readRows(source, shard, spares)) {
      place.write(shard, rows);
      spares.push(rows.bytes.buffer);
      progress.add(rows.bytes.length);
      if (slice.isOver) await slice.yield();
    }
  }
}
