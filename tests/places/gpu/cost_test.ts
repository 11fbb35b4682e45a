/** What a GPU place costs: kernels, submits, what goes over the bus, bytes on the device. */
import assert from "node:assert/strict";
import { Engine } from "../../../src/engine/engine.ts";
import { GpuError } from "../../../src/errors.ts";
import type { GgmlType } from "../../../src/formats/ggml/types.ts";
import { readGguf } from "../../../src/formats/gguf/read.ts";
import { describeModel } from "../../../src/model/model.ts";
import type { Batch } from "../../../src/places/batch.ts";
import { cacheTypes } from "../../../src/places/cache_type.ts";
import { Device } from "../../../src/places/gpu/device/device.ts";
import { GpuPlace } from "../../../src/places/gpu/gpu_place.ts";
import {
  deviceBytes,
  layoutOf,
} from "../../../src/places/gpu/memory/layout.ts";
import { stackOf } from "../../../src/places/gpu/memory/matrix.ts";
import { type Traffic, trafficOf } from "./traffic.ts";
import type { PlacePlan } from "../../../src/plan/plan.ts";
import type { Sparsity } from "../../../src/plan/sparsity.ts";
import { gpuTeam } from "../../helpers/gpu_teams.ts";
import {
  firstLayers,
  randomSplit,
  scatteredShare,
} from "../../helpers/hybrid_plans.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "../../helpers/random_model.ts";
import { requantised } from "../../helpers/requantised.ts";
import { limits } from "../../helpers/teams.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";

const exact: Sparsity = { mode: "exact" };

/** A model in which keys and values are stored as other types than queries. */
async function mixedModel(
  keys: GgmlType,
  values: GgmlType,
  options: RandomModelOptions,
): Promise<RandomModel> {
  const { source, bytes } = await randomModel(options);
  const named = (part: string) => (name: string) => name.includes(part);
  const mixed = await requantised(
    await requantised(source, keys, named("attn_k")),
    values,
    named("attn_v"),
  );
  return {
    source: mixed,
    model: describeModel(await readGguf(mixed)),
    bytes,
  };
}

/** Of one layer each, and how many kernels that takes. */
const forms: [string, number, () => Promise<RandomModel>][] = [
  ["a dense file", 7, () => randomModel({ type: "Q8_0", layerCount: 1 })],
  [
    "a dense file with values of another type",
    7,
    () => mixedModel("Q4_0", "Q8_0", { type: "Q4_0", layerCount: 1 }),
  ],
  [
    "a file with a row of down for each neuron",
    7,
    () => randomModel({ type: "F16", layerCount: 1, downByNeuron: true }),
  ],
  [
    "a file with queries, keys and values of three types",
    7,
    () =>
      mixedModel("Q8_0", "Q5_1", {
        type: "Q4_0",
        layerCount: 1,
        downByNeuron: true,
      }),
  ],
  [
    "a file with queries, keys and values of three types, floats among them",
    9,
    () =>
      mixedModel("Q8_0", "F16", {
        type: "Q4_0",
        layerCount: 1,
        downByNeuron: true,
      }),
  ],
  ...([
    ["qwen3", 6],
    ["granite", 6],
    ["arcee", 6],
    ["gemma3", 8],
    ["olmo2", 9],
    ["bitnet", 8],
  ] as const).map(([architecture, kernels]): typeof forms[number] => [
    architecture,
    kernels,
    () => randomModel({ architecture, layerCount: 1 }),
  ]),
  [
    "a mixture of experts",
    8,
    () =>
      randomModel({ architecture: "qwen3moe", expertCount: 4, layerCount: 1 }),
  ],
];

for (const [name, kernels, make] of forms) {
  testWithAdapter(
    `a token of ${name} takes one submit, one read-back, ${kernels} dispatches a layer, one more behind many positions`,
    async () => {
      const made = await make();
      const limits = { tokens: 128, contextSize: 1024 };
      const team = await gpuTeam(made, exact, undefined, { limits });
      const { model } = made;
      await using engine = new Engine(team, model.vocabSize);
      using sequence = engine.createSequence();
      await engine.evaluate(sequence, new Array(511).fill(1));
      // The last kernel merges what the workgroups found that share a head.
      for (const dispatches of [kernels, kernels + 1]) {
        const before = { ...team.gpu!.counts };
        await engine.evaluate(sequence, [2]);
        const { counts } = team.gpu!;
        assert.equal(counts.submits - before.submits, 1);
        assert.equal(counts.readBacks - before.readBacks, 1);
        // One for the embedding, one for the head.
        assert.equal(counts.dispatches - before.dispatches, 2 + dispatches);
      }
    },
  );
}

const jointModels: [string, Sparsity, RandomModelOptions][] = [
  ["Q4_0, dense", { mode: "dense" }, { type: "Q4_0", downByNeuron: true }],
  ["Q4_0, exact", exact, { type: "Q4_0", downByNeuron: true }],
  ["Q8_0 with biases", exact, {
    architecture: "llama",
    type: "Q8_0",
    biases: true,
  }],
  ["F16 of a sparse model with biases", exact, { type: "F16", biases: true }],
  ["MXFP4 with a predictor", { mode: "predictor" }, {
    type: "MXFP4",
    layerCount: 1,
    predictorRank: 32,
    downByNeuron: true,
  }],
];

for (const [name, sparsity, options] of jointModels) {
  testWithAdapter(
    `gate and up in one kernel give the same bits as in two, ${name}`,
    async () => {
      const made = await randomModel({ feedForwardSize: 608, ...options });
      const { model } = made;
      const { length } = model.layers;
      const [layer] = layoutOf({
        model,
        plan: firstLayers(model, length, true),
        sparsity,
        limits,
        cacheType: "f32",
      }).layers;
      const { gate, up, joint } = layer.feedForward!;
      const run = async (pieceBytes?: number) => {
        const team = await gpuTeam(made, sparsity, undefined, { pieceBytes });
        await using engine = new Engine(team, model.vocabSize);
        using sequence = engine.createSequence();
        const { counts } = team.gpu!;
        const rows: Float32Array[] = [], dispatches: number[] = [];
        for (const count of [12, 3, 1]) {
          const before = counts.dispatches;
          const ids = Array.from({ length: count }, (_, i) => i + count);
          const own = await engine.evaluate(sequence, ids, "all");
          rows.push(...own.map((row) => row.slice()));
          dispatches.push(counts.dispatches - before);
        }
        return { rows, dispatches, layers: engine.stats().layers };
      };
      const together = await run();
      const apart = await run(stackOf([gate!, up]).bytes - 1);
      assert.deepEqual(together.rows, apart.rows);
      assert.deepEqual(together.layers, apart.layers);
      const ofOne = joint === "all" ? length : 0;
      assert.deepEqual(
        apart.dispatches.map((count, i) => count - together.dispatches[i]),
        [length, length, ofOne],
      );
      assert.equal(
        joint,
        sparsity === exact && model.activation === "swiglu" ||
          sparsity.mode === "dense"
          ? "all"
          : "several",
      );
    },
  );
}

/** More kernels in a step of several tokens where gate and up do not fit one buffer either. */
const threeTypes: [
  string,
  pieceBytes: number,
  gateUp: number,
  () => Promise<RandomModel>,
][] = [
  [
    "Q4_0, Q8_0 and Q5_1",
    25_000,
    1,
    () => mixedModel("Q8_0", "Q5_1", { type: "Q4_0" }),
  ],
  [
    "Q8_0, Q4_K and Q6_K",
    80_000,
    0,
    () => mixedModel("Q4_K", "Q6_K", { type: "Q8_0", hiddenSize: 256 }),
  ],
];

for (const [types, pieceBytes, gateUp, make] of threeTypes) {
  testWithAdapter(
    `queries, keys and values in ${types} give the same bits in one buffer as in three`,
    async () => {
      const made = await make();
      const run = async (options: { pieceBytes?: number }) => {
        const team = await gpuTeam(made, exact, undefined, options);
        await using engine = new Engine(team, made.model.vocabSize);
        using sequence = engine.createSequence();
        const rows: Float32Array[] = [];
        for (const count of [16, 3, 1]) {
          const ids = Array.from({ length: count }, (_, i) => i + count);
          const own = await engine.evaluate(sequence, ids, "all");
          rows.push(...own.map((row) => row.slice()));
        }
        return { rows, dispatches: team.gpu!.counts.dispatches };
      };
      const together = await run({});
      const apart = await run({ pieceBytes });
      assert.deepEqual(together.rows, apart.rows);
      const { length } = made.model.layers;
      const more = (3 * 2 + 2 * gateUp) * length;
      assert.equal(apart.dispatches - together.dispatches, more);
    },
  );
}

testWithAdapter(
  "a hybrid layer takes two submits and one read-back",
  async () => {
    const made = await randomModel({ layerCount: 3, downByNeuron: true });
    const { model } = made;
    const all = firstLayers(model, 3, true);
    const half = scatteredShare(model, 0.5);
    const gpu = {
      ...all,
      parts: all.parts.map((part, i) => ({
        ...part,
        neurons: half.parts[i].neurons,
      })),
    };
    const team = await gpuTeam(made, exact, gpu);
    await using engine = new Engine(team, model.vocabSize);
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, [1, 2, 3]);
    const before = { ...team.gpu!.counts };
    await engine.evaluate(sequence, [4]);
    const { counts } = team.gpu!;
    // The head's come on top.
    assert.equal(counts.submits - before.submits, 2 * 3 + 1);
    assert.equal(counts.readBacks - before.readBacks, 3 + 1);
    assert.equal(counts.dispatches - before.dispatches, 2 + 8 * 3);
  },
);

testWithAdapter(
  "when the CPU's sum has come to a hybrid layer, nothing is left to be encoded",
  async () => {
    const made = await randomModel({ layerCount: 4, downByNeuron: true });
    const { model } = made;
    const all = firstLayers(model, 4, true);
    const half = scatteredShare(model, 0.5);
    const parts = all.parts.map((part, i) => ({
      ...part,
      neurons: half.parts[i].neurons,
    }));
    const device = await Device.open();
    const team = await gpuTeam(made, exact, { ...all, parts }, { device });
    await using engine = new Engine(team, model.vocabSize);
    using sequence = engine.createSequence();
    const { gpu } = team.sides;
    const { queue } = device.gpu;
    let isWaiting = false, passes = 0, sums = 0;
    const create = device.gpu.createCommandEncoder.bind(device.gpu);
    device.gpu.createCommandEncoder = (...args) => {
      const encoder = create(...args);
      const begin = encoder.beginComputePass.bind(encoder);
      encoder.beginComputePass = (...args) => {
        if (isWaiting) passes++;
        return begin(...args);
      };
      return encoder;
    };
    const submit = queue.submit.bind(queue);
    queue.submit = (buffers) => {
      isWaiting = false;
      submit(buffers);
    };
    const add = gpu.addToResidual.bind(gpu);
    gpu.addToResidual = (...args) => {
      isWaiting = true;
      sums++;
      add(...args);
    };
    const found: number[][] = [];
    for (let id = 0; id < 4; id++) {
      passes = sums = 0;
      await engine.evaluate(sequence, [id]);
      found.push([sums, passes]);
    }
    // A step is like the one before from the second on.
    assert.deepEqual(found.slice(2), [[4, 0], [4, 0]]);
    assert.deepEqual(found[0], [4, 4]);
    device.destroy();
  },
);

const splits: Record<string, (made: RandomModel) => PlacePlan> = {
  "all of a model": ({ model }) => firstLayers(model, 2, true),
  "a layer": ({ model }) => firstLayers(model, 1, false),
  "half of everything": ({ model }) => scatteredShare(model, 0.5),
  "a random split": ({ model }) => randomSplit(model, 7),
};

const trafficCases = [
  ...Object.entries(splits).flatMap(([name, split]) =>
    ["bamboo", "olmo2", "bitnet"].map((architecture) =>
      [`${name} of ${architecture}`, { architecture }, split] as const
    )
  ),
  [
    "half of everything of smallthinker",
    { architecture: "smallthinker", expertCount: 4 },
    splits["half of everything"],
  ] as const,
];

for (const [name, options, split] of trafficCases) {
  testWithAdapter(
    `the traffic of ${name} is what the formula says`,
    async () => {
      const made = await randomModel({ vocabSize: 200, ...options });
      const { model } = made;
      for (const sparsity of [exact, { mode: "top-k", share: 0.3 } as const]) {
        const own = { tokens: 48, contextSize: 96 };
        const team = await gpuTeam(made, sparsity, split(made), {
          limits: own,
        });
        const { gpu } = team.sides;
        const expected: Traffic[] = [];
        const begin = gpu.begin.bind(gpu);
        gpu.begin = (batch: Batch) => {
          expected.push(
            trafficOf(model, team.options.plan, sparsity, gpu.layout, batch),
          );
          begin(batch);
        };
        await using engine = new Engine(team, model.vocabSize);
        using sequence = engine.createSequence();
        const ids = (n: number) => Array.from({ length: n }, (_, i) => i);
        await engine.evaluate(sequence, ids(40), "all");
        await engine.evaluate(sequence, [3]);
        await engine.evaluate(sequence, ids(5), "none");
        using other = sequence.fork();
        await Promise.all([
          engine.evaluate(sequence, [5]),
          engine.evaluate(other, [6]),
        ]);
        await engine.evaluateTop(sequence, [7], 40);
        await Promise.all([
          engine.evaluateTop(sequence, [5], 3),
          engine.evaluateTop(other, [6], 64),
        ]);
        await Promise.all([
          engine.evaluateTop(sequence, [5], 3),
          engine.evaluate(other, [6]),
        ]);
        await engine.evaluateTop(sequence, [7], 65);
        const { counts } = gpu.stats;
        for (const name of ["readBacks", "uploaded", "downloaded"] as const) {
          const sum = expected.reduce((total, step) => total + step[name], 0);
          assert.equal(counts[name], sum, name);
        }
      }
    },
  );
}

const bytesCases: [string, () => Promise<RandomModel>, Sparsity][] = [
  ...["gemma3", "olmo2", "nemotron", "bitnet"].map((
    architecture,
  ): typeof bytesCases[number] => [
    architecture,
    () => randomModel({ architecture }),
    exact,
  ]),
  [
    "a mixture of experts",
    () => randomModel({ architecture: "gpt-oss", expertCount: 4 }),
    exact,
  ],
  ["dense Q4_0", () => randomModel({ type: "Q4_0" }), exact],
  [
    "Q4_0, Q8_0 and F16",
    () => mixedModel("Q8_0", "F16", { type: "Q4_0", kvHeadCount: 1 }),
    exact,
  ],
  [
    "tied F16",
    () => randomModel({ type: "F16", tied: true, slidingWindow: 9 }),
    exact,
  ],
  [
    "Q6_K",
    () => randomModel({ type: "Q6_K", hiddenSize: 512, downByNeuron: true }),
    exact,
  ],
  [
    "a predictor",
    () => randomModel({ predictorRank: 12, downByNeuron: true }),
    { mode: "predictor" },
  ],
  [
    "top-k",
    () => randomModel({ hiddenSize: 296 }),
    { mode: "top-k", share: 0.5 },
  ],
];
for (const [i, [name, make, sparsity]] of bytesCases.entries()) {
  testWithAdapter(`${name} takes the bytes foretold`, async (t) => {
    for (const [j, [split, planOf]] of Object.entries(splits).entries()) {
      const cacheType = cacheTypes[(i + j) % cacheTypes.length];
      await t.step(`${split}, ${cacheType} cache`, async () => {
        const made = await make();
        const asked = { limits, cacheType, pieceBytes: 30_000 };
        const plan = planOf(made);
        const { model } = made;
        const team = await gpuTeam(made, sparsity, plan, asked);
        await using engine = new Engine(team, model.vocabSize);
        const foretold = deviceBytes({ model, plan, sparsity, ...asked });
        const { gpu } = team.sides;
        assert.equal(gpu.stats.bytes, foretold.all);
        assert.equal(gpu.weightBytes, foretold.weights);
        using sequence = engine.createSequence();
        for (let id = 0; id < 40; id++) await engine.evaluate(sequence, [id]);
        assert.equal(gpu.stats.bytes, foretold.all);
      });
    }
  });
}

testWithAdapter("a budget is held to the byte", async () => {
  const { model } = await randomModel();
  const plan = firstLayers(model, 2, true);
  const options = {
    model,
    plan,
    sparsity: exact,
    limits,
    cacheType: "f16",
  } as const;
  const { all } = deviceBytes(options);
  await using enough = await GpuPlace.open({ ...options, budgetBytes: all });
  await enough.ready();
  assert.equal(enough.stats.bytes, all);
  await using short = await GpuPlace.open({ ...options, budgetBytes: all - 1 });
  await assert.rejects(short.ready(), (error: Error) => {
    assert(error instanceof GpuError);
    assert.match(error.message, new RegExp(`budget is ${all - 1}$`));
    return true;
  });
  await assert.rejects(
    GpuPlace.open({ ...options, budgetBytes: 1000 }),
    GpuError,
  );
});
