/** CPU places that load in the caller's thread. */
import type { ByteSource } from "../bytes/byte_source.ts";
import { CpuPlace } from "./cpu/cpu_place.ts";
import type { Counters } from "./cpu/options.ts";
import type { GpuPlace } from "./gpu/gpu_place.ts";
import type { LoadProgress } from "./load_progress.ts";
import { allShards, readRows } from "../model/shard.ts";
import { hotRowsOf, withHotRows } from "../plan/hot_rows.ts";
import { sumOfRates } from "../plan/machine.ts";
import { LayerCounts } from "./stats.ts";
import type { TeamOptions } from "./team.ts";
import { TimeSlice } from "../platform/time_slice.ts";

/** Loads every CPU place of a plan in the caller's thread, each with a memory of its own. */
export async function loadCpuPlaces(
  module: WebAssembly.Module,
  source: ByteSource,
  options: TeamOptions,
  progress: LoadProgress,
  { neurons, scores, ffnInputs }: Omit<Counters, "layers"> = {},
): Promise<CpuPlace[]> {
  const layers = options.model.layers.length;
  const places = options.plan.places.map((plan, i) =>
    new CpuPlace(module, { ...options, plan }, {
      layers: new LayerCounts(layers),
      neurons,
      scores,
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

/** Gives a place its weights. */
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
