import assert from "node:assert/strict";
import {
  type IndexSet,
  lengthOf,
  listOf,
  noIndices,
} from "../../src/model/index_set.ts";
import type { Model } from "../../src/model/model.ts";
import { hotBorder } from "../../src/plan/hot_rows.ts";
import type { Machine } from "../../src/plan/machine.ts";
import { makePlan } from "../../src/plan/make_plan.ts";
import { allPlaces, type PlacePlan } from "../../src/plan/plan.ts";
import type { Profile } from "../../src/plan/profile.ts";
import { randomModel } from "../helpers/random_model.ts";

const exact = { mode: "exact" } as const;

/** Fires less and less, from neuron to neuron. */
function profileOf({ layers, feedForwardSize }: Model): Profile {
  const counts = (most: number) =>
    Uint32Array.from(
      { length: feedForwardSize },
      (_, i) => most * (1 - i / feedForwardSize),
    );
  const layer = { gatePositive: counts(900), active: counts(600) };
  return { tokens: 1000, layers: layers.map(() => layer) };
}

/** A machine on which picked bytes are worth `ratio` of streamed ones. */
const cpuOf = (ratio: number): Machine => ({
  cpu: { stream: 2e7, pick: ratio * 2e7 },
});

Deno.test("the border of hot rows is planned from a header, a profile and rates", async () => {
  const { model } = await randomModel({ feedForwardSize: 96 });
  const profile = profileOf(model);
  const hotOf = (ratio: number) => {
    const { places } = makePlan(model, cpuOf(ratio), {
      places: 3,
      sparsity: exact,
      profile,
    });
    for (const { parts } of places) {
      for (const { hotRows, firing } of parts) {
        assert.equal(hotRows, hotBorder(firing!.gatePositive, ratio));
      }
    }
    return places.flatMap(({ parts }) => parts)
      .reduce((sum, { hotRows }) => sum + hotRows!, 0);
  };
  const hot = [0.1, 0.3, 0.6, 1].map(hotOf);
  assert.deepEqual(hot, hot.toSorted((a, b) => b - a));
  assert(hot[0] > hot[3]);
});

Deno.test("the border is where hotShare puts it, and no row is hot without a profile or a machine", async () => {
  const { model } = await randomModel({ feedForwardSize: 128 });
  const profile = profileOf(model);
  const borders = (...[machine, options]: [Machine?, object?]) =>
    makePlan(model, machine, { places: 2, sparsity: exact, ...options }).places
      .flatMap(({ parts }) => parts.map(({ hotRows }) => hotRows));
  const cpu = cpuOf(0.3);
  for (const hot of borders(cpu, { profile, hotShare: 0.25 })) {
    assert.equal(hot, 128 / 2 / 4);
  }
  for (const hot of borders(cpu)) assert.equal(hot, 0);
  for (const hot of borders(undefined, { profile })) {
    assert.equal(hot, undefined);
  }
});

Deno.test("a predictor is not asked about the same neurons, whatever the cut and the rates", async () => {
  const { model } = await randomModel({
    architecture: "bamboo",
    feedForwardSize: 192,
    predictorRank: 8,
  });
  const hotNeurons = (places: number, ratio: number, hotShare?: number) =>
    makePlan(model, cpuOf(ratio), {
      places,
      sparsity: { mode: "predictor" },
      profile: profileOf(model),
      hotShare,
    }).places.flatMap(({ parts: [{ firing, hotRows }] }) =>
      Array.from(firing!.order.subarray(0, hotRows))
    ).sort((a, b) => a - b);
  for (const hotShare of [undefined, 0.3]) {
    const expected = hotNeurons(1, 0.3, hotShare);
    assert(expected.length > 0);
    for (const places of [2, 3, 8]) {
      assert.deepEqual(hotNeurons(places, 0.7, hotShare), expected);
    }
  }
});

Deno.test("a predictor's border depends on what it costs to ask", async () => {
  const { model } = await randomModel({
    architecture: "bamboo",
    feedForwardSize: 96,
    predictorRank: 8,
  });
  const border = (mode: "exact" | "predictor") =>
    makePlan(model, cpuOf(0.3), {
      places: 1,
      sparsity: { mode } as Parameters<typeof makePlan>[2]["sparsity"],
      profile: profileOf(model),
    }).places[0].parts[0].hotRows!;
  assert(border("predictor") < border("exact"));
});

Deno.test("the GPU's share and the CPU's split are one plan", async () => {
  const { model } = await randomModel({ feedForwardSize: 96, headCount: 4 });
  const machine: Machine = {
    ...cpuOf(0.3),
    gpu: {
      stream: 4e8,
      dispatch: 1e-6,
      readBack: 1e-6,
      transfer: 1e9,
      memory: Infinity,
    },
  };
  const bytesOf = (plan: { parts: readonly { neurons: unknown }[] }) =>
    plan.parts.reduce(
      (sum, { neurons }) =>
        sum + 100 * lengthOf(neurons as Parameters<typeof lengthOf>[0]),
      0,
    );
  const plan = makePlan(model, machine, {
    places: 2,
    sparsity: exact,
    profile: profileOf(model),
    gpu: { budget: 5000, bytesOf, positions: 16, positionBytes: 64 },
  });
  const neurons = model.layers.map((_, layer) =>
    allPlaces(plan).reduce(
      (sum, { parts }) => sum + lengthOf(parts[layer].neurons),
      0,
    )
  );
  for (const count of neurons) assert.equal(count, model.feedForwardSize);
  assert(plan.gpu && bytesOf(plan.gpu) > 0 && bytesOf(plan.gpu) <= 5000);
  for (const { parts } of plan.places) {
    for (const { hotRows, neurons } of parts) {
      assert(hotRows! <= lengthOf(neurons));
    }
  }
});

Deno.test("a place has the same neurons of each expert that it has any of", async () => {
  const { model } = await randomModel({
    architecture: "qwen3moe",
    type: "Q4_0",
    hiddenSize: 64,
    feedForwardSize: 96,
    expertCount: 4,
    layerCount: 1,
  });
  const sameOfEach = (neurons: IndexSet) => {
    const ids = [...listOf(neurons)];
    const experts = new Set(ids.map((id) => Math.floor(id / 96)));
    const within = new Set(ids.map((id) => id % 96));
    assert.equal(ids.length, experts.size * within.size);
    return ids;
  };
  const cpuOnly = { places: 2, sparsity: exact };
  const [first, second] = makePlan(model, cpuOf(0.3), cpuOnly).places
    .map(({ parts: [{ neurons }] }) => sameOfEach(neurons));
  assert.deepEqual([first.length, second.length], [4 * 64, 4 * 32]);
  const device = { stream: 4e8, dispatch: 0, readBack: 0, transfer: 1e9 };
  const machine = { ...cpuOf(0.3), gpu: { ...device, memory: Infinity } };
  const gpu = {
    bytesOf: ({ parts: [{ neurons }] }: PlacePlan) => lengthOf(neurons),
    positions: 16,
    positionBytes: 64,
  };
  // Whole experts of 96 neurons leave less room than blocks of 32 of each of four.
  for (const [budget, count] of [[90, 0], [100, 96], [300, 288], [1e9, 384]]) {
    const options = { ...cpuOnly, gpu: { ...gpu, budget } };
    const plan = makePlan(model, machine, options);
    const held = allPlaces(plan).map(({ parts: [{ neurons }] }) =>
      sameOfEach(neurons)
    );
    assert.equal(lengthOf(plan.gpu?.parts[0].neurons ?? noIndices), count);
    assert.equal(held.flat().length, count < 384 ? 384 : held.at(-1)!.length);
  }
  const one = { heads: noIndices, neurons: { start: 0, end: 48 } };
  assert.throws(
    () =>
      makePlan(model, undefined, {
        ...cpuOnly,
        gpu: { vocab: noIndices, parts: [one] },
      }),
    /its 48 neurons of layer 0 are neither the same of each of the 4 experts nor all of some/,
  );
});

Deno.test("what a profile says of experts and neurons decides how a layer of them is cut", async () => {
  const size = 192;
  const { model } = await randomModel({
    architecture: "smallthinker",
    feedForwardSize: size,
    downByNeuron: true,
    expertCount: 8,
    usedExperts: 2,
    layerCount: 2,
  });
  // In the first layer two experts are chosen more often than the others together,
  // in the second a quarter of each expert's neurons fires nearly always.
  const countsOf = (count: (expert: number, neuron: number) => number) => {
    const counts = Uint32Array.from(
      { length: 8 * size },
      (_, id) => count(Math.floor(id / size), id % size),
    );
    return { gatePositive: counts, active: counts };
  };
  const profile: Profile = {
    tokens: 1000,
    layers: [
      countsOf((expert) => [1, 6].includes(expert) ? 700 : 100),
      countsOf((_, neuron) => neuron % 4 === 3 ? 250 : 1),
    ],
  };
  const plan = makePlan(model, {
    cpu: { stream: 1e3, pick: 1e3 },
    gpu: { stream: 1e6, dispatch: 0, readBack: 0, transfer: 1e9, memory: 1e9 },
  }, {
    places: 2,
    sparsity: exact,
    profile,
    gpu: {
      budget: 4 * size,
      bytesOf: ({ parts }: PlacePlan) =>
        parts.reduce((sum, { neurons }) => sum + lengthOf(neurons), 0),
      positions: 16,
      positionBytes: 64,
    },
  });
  const [byExpert, byNeuron] = plan.gpu!.parts.map((
    { neurons },
  ) => [...listOf(neurons)]);
  assert.deepEqual(
    byExpert,
    [1, 6].flatMap((expert) =>
      Array.from({ length: size }, (_, i) => size * expert + i)
    ),
  );
  assert.equal(byNeuron.length, 2 * size);
  assert(byNeuron.every((id) => id % 4 === 3));
  // All CPU places work on each expert that is left, in whole groups.
  const others = new Set([0, 2, 3, 4, 5, 7]);
  for (const { parts: [{ neurons }] } of plan.places) {
    const ids = [...listOf(neurons)];
    assert.deepEqual(new Set(ids.map((id) => Math.floor(id / size))), others);
  }
});
