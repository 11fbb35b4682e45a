/**
 * Teams of every kind of place, to run one suite on.
 *
 * @module
 */
import type { BatchLimits } from "../../src/places/batch.ts";
import type { CacheType } from "../../src/places/cache_type.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import { loadCpuPlaces } from "../../src/places/load_places.ts";
import { startTeam } from "../../src/places/start.ts";
import { LoadProgress } from "../../src/places/load_progress.ts";
import { ScoreCounts } from "../../src/places/score_counts.ts";
import { ReferencePlace } from "../../src/places/reference/reference_place.ts";
import { InlineTeam } from "../../src/places/inline_team.ts";
import type { Team } from "../../src/places/team.ts";
import { expertSize, ofEachExpert } from "../../src/model/experts.ts";
import { type PlacePlan, type Plan, splitEvenly } from "../../src/plan/plan.ts";
import type { Profile } from "../../src/plan/profile.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { randomSplit, scatteredShare } from "./hybrid_plans.ts";
import type { RandomModel } from "./random_model.ts";
import { nextRates } from "./rates.ts";
import { ReferenceGpu } from "./reference_gpu.ts";
import { seededRandom } from "./seeded_random.ts";

/** Of every team's steps. */
export const limits = { tokens: 16, contextSize: 96 };

/** Makes a team of one kind of place that holds the model. */
export type MakeTeam = (made: RandomModel, sparsity: Sparsity) => Promise<Team>;

/** A cut in which no border is a multiple of anything. */
function crookedPlan({ model }: RandomModel): Plan {
  const cut = (count: number, share: number) => Math.floor(count * share);
  const range = (count: number, from: number, to: number) => ({
    start: cut(count, from),
    end: to === 1 ? count : cut(count, to),
  });
  const borders = [0, 0.13, 0.61, 1];
  const size = expertSize(model);
  return {
    places: borders.slice(1).map((to, i) => ({
      vocab: range(model.vocabSize, borders[i], to),
      parts: model.layers.map(() => ({
        heads: range(model.headCount, borders[i], to),
        neurons: ofEachExpert(
          model.expertCount,
          size,
          range(size, borders[i], to),
        ),
      })),
    })),
  };
}

/** Counts that follow no pattern. */
export function randomProfile({ model }: Pick<RandomModel, "model">): Profile {
  const random = seededRandom(11);
  const counts = () =>
    Uint32Array.from(
      { length: model.feedForwardSize },
      () => Math.floor(random() * 1000),
    );
  return {
    tokens: 1000,
    layers: model.layers.map(() => ({
      gatePositive: counts(),
      active: counts(),
    })),
  };
}

/** Reference places in lockstep; each computes all outputs of its own heads and neurons. */
export async function referenceTeam(
  { model, source }: RandomModel,
  { places: cut }: Plan,
  sparsity: Sparsity,
  cacheType: CacheType = "f32",
): Promise<Team> {
  const plan: Plan = {
    places: cut.map(({ vocab, parts }) => ({
      vocab,
      parts: parts.map((part) => ({ ...part, inputs: undefined })),
    })),
  };
  const places = [];
  for (const part of plan.places) {
    places.push(
      await ReferencePlace.load(
        model,
        part,
        sparsity,
        source,
        { cacheType },
        limits.contextSize,
      ),
    );
  }
  const options = { model, plan, sparsity, limits, cacheType };
  return new InlineTeam("reference", options, { cpu: places });
}

/** CPU places in lockstep. */
export async function cpuTeam(
  { model, source }: Pick<RandomModel, "model" | "source">,
  plan: Plan,
  sparsity: Sparsity,
  options: {
    hotShare?: number;
    bankBytes?: number;
    cacheType?: CacheType;
    limits?: BatchLimits;
    measureRecall?: boolean;
  } = {},
): Promise<InlineTeam> {
  const scores = options.measureRecall
    ? new ScoreCounts(model.layers.length)
    : undefined;
  const places = await loadCpuPlaces(
    (await loadKernels()).module,
    source,
    {
      model,
      plan,
      sparsity,
      limits,
      cacheType: "f32",
      measureRecall: false,
      rates: nextRates(),
      ...options,
    },
    new LoadProgress(0),
    { scores },
  );
  return new InlineTeam(
    "cpu",
    {
      model,
      plan,
      sparsity,
      limits: options.limits ?? limits,
      cacheType: options.cacheType ?? "f32",
    },
    { cpu: places },
    { scores },
  );
}

/** CPU places, and a reference place in the GPU's role, in lockstep. */
export async function hybridTeam(
  made: RandomModel,
  gpu: PlacePlan,
  sparsity: Sparsity,
  failAt?: number,
): Promise<Team> {
  const { model, source } = made;
  const plan = splitEvenly(model, 2, undefined, gpu);
  const { sides } = await cpuTeam(made, plan, sparsity);
  const place = await ReferencePlace.load(
    model,
    gpu,
    sparsity,
    source,
    undefined,
    limits.contextSize,
  );
  const options = { model, plan, sparsity, limits, cacheType: "f32" as const };
  return new InlineTeam("hybrid", options, {
    ...sides,
    gpu: new ReferenceGpu(place, failAt),
  });
}

/** Of CPU places, with keys and values in f32 or f16. */
export const teams: Record<string, MakeTeam> = {
  "reference, 3 crooked places": (made, sparsity) =>
    referenceTeam(made, crookedPlan(made), sparsity),
  "cpu, 1 place": (made, sparsity) =>
    cpuTeam(made, splitEvenly(made.model, 1), sparsity),
  "cpu, 2 places": (made, sparsity) =>
    cpuTeam(made, splitEvenly(made.model, 2), sparsity),
  "cpu, 3 crooked places": (made, sparsity) =>
    cpuTeam(made, crookedPlan(made), sparsity),
  // Hot rows are computed whatever a predictor says, so none are hot for it.
  "cpu, 2 places, ordered by a profile": (made, sparsity) =>
    cpuTeam(
      made,
      splitEvenly(made.model, 2, randomProfile(made)),
      sparsity,
      sparsity.mode === "predictor" ? { hotShare: 0 } : {},
    ),
  "cpu, 2 places of a bank a layer, ordered, 40% hot": (made, sparsity) =>
    cpuTeam(made, splitEvenly(made.model, 2, randomProfile(made)), sparsity, {
      hotShare: sparsity.mode === "predictor" ? 0 : 0.4,
      bankBytes: 1,
    }),
  "cpu, 2 threads": ({ model, source }, sparsity) =>
    startTeam(source, 2, {
      model,
      sparsity,
      limits,
      cacheType: "f16",
      measureRecall: false,
      rates: nextRates(),
    }),
  "cpu, 2 places, and half of all on a reference GPU": (made, sparsity) =>
    hybridTeam(made, scatteredShare(made.model, 0.5), sparsity),
  "cpu, 2 places, and a random split": (made, sparsity) =>
    hybridTeam(made, randomSplit(made.model, 5), sparsity),
};

/** The same with keys and values in q8_0. */
export const teamsOfQ8: Record<string, MakeTeam> = {
  "reference, 3 crooked places, q8_0 cache": (made, sparsity) =>
    referenceTeam(made, crookedPlan(made), sparsity, "q8_0"),
  "cpu, 3 crooked places, q8_0 cache": (made, sparsity) =>
    cpuTeam(made, crookedPlan(made), sparsity, { cacheType: "q8_0" }),
  "cpu, 3 threads, q8_0 cache": ({ model, source }, sparsity) =>
    startTeam(source, 3, {
      model,
      sparsity,
      limits,
      cacheType: "q8_0",
      measureRecall: false,
      rates: nextRates(),
    }),
};
