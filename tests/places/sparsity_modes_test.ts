/**
 * Every mode of sparsity, with predictors of every kind, on every kind of place:
 * beside the reference, and by what is computed and what is skipped.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { type LayerStats, statsSince } from "../../src/places/stats.ts";
import type { Team } from "../../src/places/team.ts";
import {
  comparePlaces,
  distance,
  runTexts,
} from "../helpers/compare_places.ts";
import { gpuTeams } from "../helpers/gpu_teams.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import {
  cpuTeam,
  type MakeTeam,
  referenceTeam,
  teams as cpuTeams,
} from "../helpers/teams.ts";

const teams = { ...cpuTeams, ...gpuTeams };

const sparsityModes: Sparsity[] = [
  { mode: "dense" },
  { mode: "predictor" },
  { mode: "predictor", threshold: 0.4 },
  { mode: "top-k", share: 0.2 },
  { mode: "top-k", share: 1 },
  { mode: "threshold", value: 0.05 },
];
for (const sparsity of sparsityModes) {
  for (const downByNeuron of [false, true]) {
    const options: RandomModelOptions = {
      type: "F16",
      hiddenSize: 48,
      feedForwardSize: 90,
      headCount: 6,
      kvHeadCount: 3,
      predictorRank: 12,
      downByNeuron,
    };
    const mode = JSON.stringify(sparsity);
    Deno.test(`places agree in ${mode}, down by neuron ${downByNeuron}`, async () => {
      await comparePlaces(teams, options, sparsity);
    });
  }
}

for (const type of ["F16", "Q4_0"] as const) {
  Deno.test(`places agree with a linear predictor of ${type}`, async () => {
    const options: RandomModelOptions = {
      type,
      hiddenSize: 64,
      feedForwardSize: 128,
      predictorRank: 32,
      linearPredictor: true,
      downByNeuron: true,
    };
    await comparePlaces(teams, options, { mode: "predictor" });
  });
}

Deno.test("places agree with a predictor and gates that have to pass a threshold", async () => {
  for (const biases of [false, true]) {
    const options: RandomModelOptions = {
      architecture: "llama",
      type: "F16",
      feedForwardSize: 90,
      predictorRank: 12,
      biases,
      downByNeuron: true,
      keys: { activation: "fatrelu=0.05" },
      // Of which no score lies so near the threshold that keys in f16 decide.
      seed: 2,
    };
    await comparePlaces(teams, options, { mode: "predictor" });
  }
});

for (const downByNeuron of [false, true]) {
  Deno.test(`places agree with a predictor and biases, down by neuron ${downByNeuron}`, async () => {
    const options: RandomModelOptions = {
      architecture: "llama",
      magic: "PWRI",
      type: "F16",
      feedForwardSize: 90,
      predictorRank: 12,
      biases: true,
      downByNeuron,
    };
    const withRecall: MakeTeam = (made, sparsity) =>
      cpuTeam(made, splitEvenly(made.model, 2), sparsity, {
        measureRecall: true,
      });
    const all = { ...teams, "cpu, recall measured": withRecall };
    for (const mode of ["predictor", "dense"] as const) {
      await comparePlaces(all, options, { mode });
    }
  });
}

Deno.test("places agree with the largest neurons of one expert a token", async () => {
  await comparePlaces(cpuTeams, {
    architecture: "turbosparsemixtral",
    type: "F16",
    hiddenSize: 48,
    feedForwardSize: 90,
    expertCount: 5,
    usedExperts: 1,
    headCount: 6,
    kvHeadCount: 3,
  }, { mode: "top-k", share: 0.2 });
});

/** Experts of ReLU, each with a predictor of its own. */
for (const sparsity of sparsityModes) {
  Deno.test(`places agree with experts in ${JSON.stringify(sparsity)}`, async () => {
    const options: RandomModelOptions = {
      architecture: "turbosparsemixtral",
      type: "F16",
      hiddenSize: 48,
      feedForwardSize: 90,
      expertCount: 5,
      headCount: 6,
      kvHeadCount: 3,
      predictorRank: 12,
      downByNeuron: sparsity.mode === "predictor" || sparsity.mode === "dense",
    };
    await comparePlaces(teams, options, sparsity);
  });
}

Deno.test("of experts, the chosen ones are read, and of these the rows that are needed", async () => {
  for (const downByNeuron of [false, true]) {
    const made = await randomModel({
      architecture: "smallthinker",
      type: "F16",
      feedForwardSize: 200,
      expertCount: 8,
      usedExperts: 3,
      downByNeuron,
      layerCount: 1,
    });
    const team = await cpuTeam(made, splitEvenly(made.model, 2), {
      mode: "exact",
    });
    await using engine = new Engine(team, made.model.vocabSize);
    const statsOf = async (steps: number[][]) => {
      using sequence = engine.createSequence();
      const before = engine.stats();
      for (const ids of steps) await engine.evaluate(sequence, ids);
      return statsSince(engine.stats(), before).layers[0];
    };
    const ids = [3, 1, 4, 15, 9, 26, 5, 35];
    const single = await statsOf(ids.map((id) => [id]));
    assert.deepEqual(
      [single.experts, single.chosenExperts, single.readExperts],
      [8 * 8, 3 * 8, 3 * 8],
    );
    assert.equal(single.neurons, 3 * 8 * 200);
    assert.equal(single.gateRows, single.neurons);
    assert(single.active < single.gatePositive + 1);
    assert(single.gatePositive < 0.6 * single.neurons);
    if (downByNeuron) assert.equal(single.downRows, single.active);
    // Together they choose the same, and share what they read.
    const all = await statsOf([ids]);
    assert.equal(all.chosenExperts, single.chosenExperts);
    assert.equal(all.active, single.active);
    assert(all.readExperts <= 8 && all.readExperts >= 3);
  }
});

/** What other architectures make of modes: x is scaled before a predictor reads it, h is normed after small ones are dropped. */
const traitCases: [RandomModelOptions, Sparsity][] = [
  [
    {
      architecture: "granite",
      type: "F16",
      predictorRank: 12,
      keys: { activation: "relu", residualScale: 0.4 },
    },
    { mode: "predictor", threshold: 0.4 },
  ],
  ...([
    { mode: "top-k", share: 0.2 },
    { mode: "threshold", value: 0.05 },
  ] as const).map((sparsity): [RandomModelOptions, Sparsity] => [
    { architecture: "bitnet", type: "F16", keys: { activation: "relu2" } },
    sparsity,
  ]),
];

for (const [options, sparsity] of traitCases) {
  const { architecture } = options;
  Deno.test(`places agree in ${JSON.stringify(sparsity)}: ${architecture}`, async () => {
    await comparePlaces(teams, options, sparsity);
  });
}

Deno.test("places agree where gates have to pass a threshold", async () => {
  for (const downByNeuron of [false, true]) {
    const options: RandomModelOptions = {
      architecture: "llama",
      type: "F16",
      downByNeuron,
      keys: { activation: "fatrelu=0.2" },
    };
    await comparePlaces(teams, options, { mode: "exact" });
  }
});

Deno.test("each layer's predictor has a threshold of its own", async () => {
  const made = await randomModel({ predictorRank: 12, linearPredictor: true });
  const thresholds = {
    model: { ...made.model, sparseThresholds: [-1e9, 0.2] },
  };
  const asked = async (team: Team) => {
    await using engine = new Engine(team, made.model.vocabSize);
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, [1, 2, 3]);
    return engine.stats().layers.map(({ predicted }) => predicted);
  };
  const args = [
    { ...made, ...thresholds },
    splitEvenly(made.model, 2),
    { mode: "predictor" },
  ] as const;
  const expected = await asked(await referenceTeam(...args));
  assert.equal(expected[0], 3 * made.model.feedForwardSize);
  assert(expected[1] < 2 * made.model.feedForwardSize);
  assert.deepEqual(await asked(await cpuTeam(...args)), expected);
});

Deno.test("a predictor that asks for everything changes nothing", async () => {
  const made = await randomModel({ predictorRank: 9, type: "F16" });
  const run = async (sparsity: Sparsity) =>
    await runTexts(
      await cpuTeam(made, splitEvenly(made.model, 2), sparsity),
      made.model.vocabSize,
    );
  const all = await run({ mode: "predictor", threshold: -1e9 });
  const none = await run({ mode: "predictor", threshold: 1e9 });
  const exact = await run({ mode: "exact" });
  assert(distance(all, exact) < 1e-5);
  assert(distance(none, exact) > 1e-2);
});

/** Of each mode, what it was loaded with, and what sequences take in its place. */
const ownThresholds: [Sparsity, number[]][] = [
  [{ mode: "threshold", value: 9 }, [0, 0.02, 0.1]],
  [{ mode: "predictor" }, [-1e9, 0, 0.4]],
];
for (const [loaded, thresholds] of ownThresholds) {
  Deno.test(`sequences have thresholds of their own, together in a step: ${loaded.mode}`, async () => {
    const made = await randomModel({
      architecture: "turbosparsemixtral",
      type: "F16",
      feedForwardSize: 90,
      expertCount: 5,
      predictorRank: 12,
      downByNeuron: true,
    });
    const { vocabSize } = made.model;
    const plan = splitEvenly(made.model, 2);
    const withRecall: MakeTeam = (made, sparsity) =>
      cpuTeam(made, plan, sparsity, { measureRecall: true });
    // With a GPU sequences have none.
    const kinds = [
      ...Object.entries(cpuTeams).filter(([name]) => !/GPU|split/.test(name)),
      ["recall measured", withRecall] as const,
    ];
    const run = async (engine: Engine, threshold?: number) => {
      using sequence = engine.createSequence({ threshold });
      const rows = await engine.evaluate(sequence, [5, 1, 9, 40], "all");
      return [...rows, ...await engine.evaluate(sequence, [3])];
    };
    for (const [name, makeTeam] of kinds) {
      await using engine = new Engine(await makeTeam(made, loaded), vocabSize);
      const together = await Promise.all(
        thresholds.map((threshold) => run(engine, threshold)),
      );
      for (const [i, threshold] of thresholds.entries()) {
        const sparsity: Sparsity = loaded.mode === "predictor"
          ? { mode: "predictor", threshold }
          : { mode: "threshold", value: threshold };
        await using alone = new Engine(
          await makeTeam(made, sparsity),
          vocabSize,
        );
        assert.deepEqual(
          together[i],
          await run(alone),
          `${name}, ${threshold}`,
        );
      }
      assert.notDeepEqual(together[0], together[2]);
    }
  });
}

Deno.test("a sequence may have a threshold for each layer", async () => {
  const made = await randomModel({ predictorRank: 12 });
  const plan = splitEvenly(made.model, 2), { vocabSize } = made.model;
  const own = [-1e9, 0.4];
  const run = async (engine: Engine, threshold?: number[]) => {
    using sequence = engine.createSequence({ threshold });
    await engine.evaluate(sequence, [5, 1, 9, 40], "none");
    return await engine.evaluate(sequence, [3]);
  };
  for (const makeTeam of [referenceTeam, cpuTeam]) {
    const team = await makeTeam(made, plan, { mode: "predictor" });
    await using engine = new Engine(team, vocabSize);
    const stated = {
      ...made,
      model: { ...made.model, sparseThresholds: own },
    };
    await using other = new Engine(
      await makeTeam(stated, plan, { mode: "predictor" }),
      vocabSize,
    );
    assert.deepEqual(await run(engine, own), await run(other));
    assert.notDeepEqual(await run(engine), await run(other));
    assert.throws(
      () => engine.createSequence({ threshold: [1, 2, 3] }),
      /Cannot take 3 thresholds: the model has 2 layers/,
    );
  }
});

for (const linearPredictor of [true, false]) {
  Deno.test(
    `thresholds of a recall select that share of what fires: ${
      linearPredictor ? "linear" : "ReLU"
    }`,
    async () => {
      const made = await randomModel({
        predictorRank: 12,
        linearPredictor,
        feedForwardSize: 400,
        type: "F16",
      });
      const { model } = made;
      const team = await cpuTeam(
        made,
        splitEvenly(model, 2),
        { mode: "predictor" },
        { measureRecall: true },
      );
      await using engine = new Engine(team, model.vocabSize);
      const ids = Array.from({ length: 60 }, (_, i) => 7 * i % model.vocabSize);
      const run = async (threshold: number | number[]) => {
        using sequence = engine.createSequence({ threshold });
        const before = engine.stats();
        await engine.evaluate(sequence, ids, "none");
        return statsSince(engine.stats(), before).layers;
      };
      await run(-1e30);
      // What follows is counted too, so all are taken at once.
      const wanted = [0.5, 0.9, 0.99, 1].map((recall) =>
        [recall, engine.recallThresholds(recall)] as const
      );
      for (const [recall, thresholds] of wanted) {
        assert.equal(thresholds.length, model.layers.length);
        // The first layer reads what it has read before.
        const [{ truth, recalled }] = await run(thresholds);
        assert(recalled >= recall * truth, `${recall}: ${recalled / truth}`);
        assert(recalled <= (recall + 0.01) * truth, `${recalled / truth}`);
      }
      assert.throws(
        () => engine.recallThresholds(0),
        /recall 0: needs a number/,
      );
    },
  );
}

Deno.test("thresholds of a recall are told where recall is measured alone", async () => {
  const made = await randomModel({ predictorRank: 12 });
  const plan = splitEvenly(made.model, 1);
  for (const mode of ["predictor", "exact"] as const) {
    const team = await cpuTeam(made, plan, { mode }, {
      measureRecall: mode === "exact",
    });
    await using engine = new Engine(team, made.model.vocabSize);
    assert.throws(() => engine.recallThresholds(0.9), {
      name: "UsageError",
      message: /without measureRecall, or another sparsity/,
    });
  }
});

Deno.test("a sequence's threshold is refused out of range, and in other modes", async () => {
  const made = await randomModel();
  const refuse = async (sparsity: Sparsity, threshold: number, why: RegExp) => {
    const team = await cpuTeam(made, splitEvenly(made.model, 1), sparsity);
    await using engine = new Engine(team, made.model.vocabSize);
    assert.throws(() => engine.createSequence({ threshold }), {
      name: "UsageError",
      message: why,
    });
  };
  await refuse({ mode: "exact" }, 1, /in sparsity exact: load the model with/);
  await refuse({ mode: "threshold", value: 1 }, -1, /a number from 0 up/);
  await refuse({ mode: "threshold", value: 1 }, NaN, /threshold NaN/);
});

Deno.test("counters tell what was computed and what was skipped", async () => {
  const made = await randomModel({
    type: "F16",
    feedForwardSize: 400,
    downByNeuron: true,
    layerCount: 1,
  });
  const { model } = made;
  const count = async (sparsity: Sparsity) => {
    const team = await cpuTeam(made, splitEvenly(model, 2), sparsity);
    await using engine = new Engine(team, model.vocabSize);
    using sequence = engine.createSequence();
    for (let id = 0; id < 10; id++) await engine.evaluate(sequence, [id]);
    return engine.stats();
  };
  const { layers: [exact], tokens } = await count({ mode: "exact" });
  const { layers: [dense] } = await count({ mode: "dense" });
  assert.equal(tokens, 10);
  assert.equal(exact.neurons, 4000);
  assert.equal(exact.gateRows, 4000);
  assert.equal(exact.downRows, exact.active);
  assert(exact.active < exact.gatePositive && exact.gatePositive < 2400);
  assert.deepEqual(
    [dense.upRows, dense.gatePositive, dense.active],
    [4000, exact.gatePositive, exact.active],
  );
  const bytes = ({ streamed, picked }: LayerStats) => streamed + picked;
  assert(bytes(exact) < bytes(dense) || exact.upRows === dense.upRows);
});
