/**
 * Mixtures of experts whose experts are split between CPU and GPU, whole or
 * inside each: every routing, form of down and mode of sparsity beside the
 * reference, and what either side computes of them.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { hasAdapter } from "../helpers/adapter.ts";
import { comparePlaces } from "../helpers/compare_places.ts";
import { gpuTeam } from "../helpers/gpu_teams.ts";
import { randomSplit, someExperts } from "../helpers/hybrid_plans.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { cpuTeam, hybridTeam, type MakeTeam } from "../helpers/teams.ts";

/** Hybrids with the reference in the GPU's role, and with a device where there is one. */
function hybrids(seed: number): Record<string, MakeTeam> {
  const teams: Record<string, MakeTeam> = {
    "a third of the experts": (made, sparsity) =>
      hybridTeam(made, someExperts(made.model, 1 / 3, seed), sparsity),
    "most experts": (made, sparsity) =>
      hybridTeam(made, someExperts(made.model, 0.8, seed), sparsity),
    "a random split": (made, sparsity) =>
      hybridTeam(made, randomSplit(made.model, seed), sparsity),
  };
  if (!hasAdapter) return teams;
  return {
    ...teams,
    "half of the experts on a device, in pieces": (made, sparsity) =>
      gpuTeam(made, sparsity, someExperts(made.model, 0.5, seed), {
        pieceBytes: 100_000,
      }),
    "a random split with a device": (made, sparsity) =>
      gpuTeam(made, sparsity, randomSplit(made.model, seed)),
  };
}

const odd: RandomModelOptions = {
  hiddenSize: 20,
  headSize: 6,
  headCount: 5,
  kvHeadCount: 5,
  feedForwardSize: 37,
  vocabSize: 51,
};

const mixtures: RandomModelOptions[] = [
  { architecture: "llama", ...odd, expertCount: 5, biases: true },
  {
    architecture: "turbosparsemixtral",
    type: "F16",
    feedForwardSize: 150,
    downByNeuron: true,
    expertCount: 4,
    layerCount: 3,
  },
  {
    architecture: "qwen2moe",
    type: "Q4_0",
    hiddenSize: 96,
    feedForwardSize: 64,
    expertCount: 6,
    sharedExperts: 2,
  },
  { architecture: "qwen3moe", headSize: 24, expertCount: 8, usedExperts: 3 },
  { architecture: "gpt-oss", ...odd, expertCount: 4 },
  {
    architecture: "gpt-oss",
    type: "MXFP4",
    hiddenSize: 96,
    feedForwardSize: 96,
    expertCount: 4,
    biases: true,
  },
  {
    architecture: "smallthinker",
    type: "F16",
    hiddenSize: 96,
    feedForwardSize: 80,
    downByNeuron: true,
    expertCount: 9,
    layerCount: 4,
    keys: { expertScoring: 2, expertScale: 1.5 },
  },
];

const nameOf = ({ architecture, type = "F32" }: RandomModelOptions) =>
  `${architecture} in ${type}`;

mixtures.forEach((options, i) => {
  Deno.test(`places agree where they split experts: ${nameOf(options)}`, async () => {
    await comparePlaces(hybrids(11 + i), options, { mode: "exact" });
  });
});

const modes: Sparsity[] = [
  { mode: "dense" },
  { mode: "predictor" },
  { mode: "top-k", share: 0.2 },
  { mode: "threshold", value: 0.05 },
];
for (const sparsity of modes) {
  for (const downByNeuron of [false, true]) {
    const mode = JSON.stringify(sparsity);
    Deno.test(`places agree where they split experts, in ${mode}, down by neuron ${downByNeuron}`, async () => {
      const options: RandomModelOptions = {
        architecture: "turbosparsemixtral",
        type: "F16",
        hiddenSize: 48,
        feedForwardSize: 90,
        headCount: 6,
        kvHeadCount: 3,
        expertCount: 5,
        predictorRank: 12,
        downByNeuron,
      };
      await comparePlaces(hybrids(3), options, sparsity);
    });
  }
}

Deno.test("each side computes what tokens choose of its experts, once", async () => {
  const options: RandomModelOptions = {
    architecture: "smallthinker",
    feedForwardSize: 64,
    downByNeuron: true,
    expertCount: 8,
    usedExperts: 3,
  };
  const made = await randomModel(options);
  const { model } = made, exact: Sparsity = { mode: "exact" };
  const gpu = someExperts(model, 0.5, 2);
  const ids = Array.from({ length: 12 }, (_, i) => i);
  const countsOf = async (makeTeam: MakeTeam) => {
    const team = await makeTeam(made, exact);
    await using engine = new Engine(team, model.vocabSize);
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, ids, "last");
    return engine.stats().layers;
  };
  const teams: MakeTeam[] = [
    () => hybridTeam(made, gpu, exact),
    ...hasAdapter ? [() => gpuTeam(made, exact, gpu)] : [],
  ];
  const alone = await countsOf(() =>
    cpuTeam(made, splitEvenly(model, 1), exact)
  );
  for (const makeTeam of teams) {
    const both = await countsOf(makeTeam);
    alone.forEach((layer, i) => {
      for (const name of ["neurons", "gatePositive", "active"] as const) {
        assert.equal(both[i][name], layer[name], `${name} of layer ${i}`);
      }
      assert.equal(both[i].neurons, 12 * 3 * 64);
    });
  }
});
