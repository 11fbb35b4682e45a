/**
 * Teams with a real WebGPU device.
 *
 * @module
 */
import { Device } from "../../src/places/gpu/device/device.ts";
import {
  GpuPlace,
  type GpuPlaceOptions,
} from "../../src/places/gpu/gpu_place.ts";
import { rowBytes } from "../../src/formats/ggml/types.ts";
import { allShards, readRows } from "../../src/model/shard.ts";
import { InlineTeam } from "../../src/places/inline_team.ts";
import { isEmpty, type PlacePlan, splitEvenly } from "../../src/plan/plan.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { firstLayers, randomSplit, scatteredShare } from "./hybrid_plans.ts";
import { hasAdapter } from "./adapter.ts";
import type { RandomModel } from "./random_model.ts";
import { cpuTeam, limits, type MakeTeam } from "./teams.ts";

/** What a test may choose of a GPU place. */
type GpuTestOptions = Partial<
  Omit<GpuPlaceOptions, "model" | "plan" | "sparsity">
>;

/** One for all tests of a file: kernels are compiled once. */
let device: Promise<Device> | undefined;

/** A GPU place with its weights. */
async function gpuPlace(
  { model, source }: Pick<RandomModel, "model" | "source">,
  plan: PlacePlan,
  sparsity: Sparsity,
  options: GpuTestOptions = {},
): Promise<GpuPlace> {
  const shared = await (device ??= Device.open());
  const place = await GpuPlace.open({
    model,
    plan,
    sparsity,
    limits,
    cacheType: "f32",
    device: shared,
    readBack: await shared.readsAtOnce ? "synchronous" : "awaited",
    ...options,
  });
  for (const shard of allShards(place.shards)) {
    for await (const rows of readRows(source, shard)) place.write(shard, rows);
  }
  await place.ready();
  return place;
}

/** A team of one GPU place with all of a model, or with what `gpu` says and two CPU places with the rest. */
export async function gpuTeam(
  made: Pick<RandomModel, "model" | "source">,
  sparsity: Sparsity,
  gpu: PlacePlan = firstLayers(made.model, made.model.layers.length, true),
  options: GpuTestOptions = {},
): Promise<InlineTeam & { readonly sides: { readonly gpu: GpuPlace } }> {
  const { model } = made;
  const whole = splitEvenly(model, 2, undefined, gpu);
  const plan = whole.places.every(isEmpty) ? { ...whole, places: [] } : whole;
  const { cacheType = "f32", limits: own = limits } = options;
  const cpu = plan.places.length > 0
    ? (await cpuTeam(made, plan, sparsity, { cacheType, limits: own })).sides
      .cpu
    : [];
  const place = await gpuPlace(made, gpu, sparsity, options);
  const team = new InlineTeam(place.stats.name, {
    model,
    plan,
    sparsity,
    limits: own,
    cacheType,
  }, { cpu, gpu: place });
  return team as typeof team & { readonly sides: { readonly gpu: GpuPlace } };
}

/** Rows of 256 columns: some more than a tile of the kernels has, for a device in software takes as long for less. */
const pieceRows = 70;

/** Teams with a GPU, with keys and values in f32; none where there is no adapter. */
export const gpuTeams: Record<string, MakeTeam> = hasAdapter
  ? {
    "gpu, matrices cut into pieces": (made, sparsity) => {
      const pieceBytes = pieceRows *
        rowBytes(made.model.layers[0].ffn_up.type, 256);
      return gpuTeam(made, sparsity, undefined, { pieceBytes });
    },
    "gpu with a random split, 2 cpu places": (made, sparsity) =>
      gpuTeam(made, sparsity, randomSplit(made.model, 5)),
  }
  : {};

/** The same with keys and values in q8_0. */
export const gpuTeamsOfQ8: Record<string, MakeTeam> = hasAdapter
  ? {
    "gpu with half of all, 2 cpu places, q8_0 cache": (made, sparsity) =>
      gpuTeam(made, sparsity, scatteredShare(made.model, 0.5), {
        cacheType: "q8_0",
      }),
  }
  : {};
