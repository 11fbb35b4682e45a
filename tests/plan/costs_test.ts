import assert from "node:assert/strict";
import type { Model } from "../../src/model/model.ts";
import { kvPositionBytes } from "../../src/places/cache_type.ts";
import { load } from "../../mod.ts";
import {
  assumedFiring,
  expertShares,
  firingOfLayers,
} from "../../src/plan/firing.ts";
import { type Costs, costsOf } from "../../src/plan/costs.ts";
import { lengthOf } from "../../src/model/index_set.ts";
import type { Machine } from "../../src/plan/machine.ts";
import type { PlacePlan } from "../../src/plan/plan.ts";
import { predict } from "../../src/plan/prediction.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { scheduleOf } from "../../src/plan/schedule.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { synthShapes } from "../../src/lab/synth/options.ts";
import { asType, synthModel } from "../../src/lab/synth/synth_model.ts";
import { randomSplit } from "../helpers/hybrid_plans.ts";
import { randomCosts } from "../helpers/random_costs.ts";
import { randomModel } from "../helpers/random_model.ts";

/** A megabyte a millisecond, picked or streamed: times in ms are megabytes. */
const even: Machine = { cpu: { stream: 1e6, pick: 1e6 } };

const shape = synthShapes["bamboo-7b"];

async function bamboo(form: "powerinfer" | "llama"): Promise<Model> {
  const model = await synthModel({
    shape,
    type: "F16",
    form,
    activation: "drelu",
    gatePositive: 0.39,
    active: 0.15,
    seed: 1,
  });
  return asType({ ...model, activation: "drelu" }, "Q4_0");
}

function megabytes(model: Model, sparsity: Sparsity, machine = even) {
  const costs = costsOf(model, {
    machine,
    sparsity,
    firing: assumedFiring(model, "even"),
    positions: 1024,
    positionBytes: kvPositionBytes("f16", model.headSize),
  });
  const sum = (valueOf: (layer: Costs["layers"][number]) => number) =>
    costs.layers.reduce((total, layer) => total + valueOf(layer), 0);
  return {
    attention: sum(({ attention }) => attention.cpu),
    ffn: sum(({ neurons }) => neurons.cpu.reduce((a, b) => a + b, 0)),
    head: costs.head.cpu,
    total: predict(model, costs).ms,
  };
}

function near(actual: number, expected: number, what: string): void {
  assert(
    Math.abs(actual / expected - 1) < 0.005,
    `${what}: ${actual}, expected ${expected}`,
  );
}

Deno.test("Bamboo-7B in Q4_0 costs the bytes that arithmetic says", async () => {
  const model = await bamboo("powerinfer");
  const dense = megabytes(model, { mode: "dense" });
  near(dense.attention, 755 + 134, "attention with keys and values");
  // Of down, rows of neurons that fire are read alone, in mode dense too.
  near(dense.ffn, 3171 / 3 * (2 + 0.148), "FFN, dense");
  near(dense.head, 73.7, "head");
  near(dense.total, 755 + 134 + dense.ffn + 73.7, "all, dense");
  const exact = megabytes(model, { mode: "exact" });
  near(exact.ffn, 3171 / 3 * (1 + 0.39 + 0.148), "FFN, exact");
  // A picked row that costs three streamed ones is streamed where it is needed more often.
  const slow = megabytes(model, { mode: "exact" }, {
    cpu: { stream: 1e6, pick: 1e6 / 3 },
  });
  near(slow.ffn, 3171 / 3 * (1 + 1 + 3 * 0.148), "FFN, picking slowly");
});

Deno.test("a token costs the router, and of its experts what is read", async () => {
  const { model } = await randomModel({
    architecture: "smallthinker",
    type: "F16",
    expertCount: 8,
    usedExperts: 2,
    layerCount: 1,
    downByNeuron: true,
  });
  const { ffn_up, ffn_gate_inp } = model.layers[0];
  const each = 2 / 8 * ffn_up.byteLength / 1e6;
  near(
    megabytes(model, { mode: "dense" }).ffn,
    each * (2 + 0.148),
    "FFN, dense",
  );
  // In ReGLU a neuron fires where its gate is positive.
  near(
    megabytes(model, { mode: "exact" }).ffn,
    each * (1 + 0.148 + 0.148),
    "FFN, exact",
  );
  const costs = costsOf(model, {
    machine: even,
    sparsity: { mode: "exact" },
    firing: assumedFiring(model, "even"),
    positions: 0,
    positionBytes: 0,
  });
  near(costs.layers[0].ffn.cpu, ffn_gate_inp!.byteLength / 1e6, "router");
});

Deno.test("an expert costs what the tokens that choose it read", async () => {
  const { model } = await randomModel({
    architecture: "qwen2moe",
    type: "F16",
    feedForwardSize: 32,
    expertCount: 4,
    usedExperts: 2,
    sharedExperts: 1,
    layerCount: 1,
  });
  // Of four experts, beside one that is shared, tokens choose two: the last hardly ever.
  const size = 32, hottest = [60, 60, 60, 20, 5];
  const counts = Uint32Array.from(
    { length: 5 * size },
    (_, id) => id % size === 7 ? hottest[Math.floor(id / size)] : 1,
  );
  const profile = {
    tokens: 100,
    layers: [{ gatePositive: counts, active: counts }],
  };
  const firing = firingOfLayers(model, profile, "even");
  assert.deepEqual(
    [...expertShares(model, firing[0])].map((share) => share.toFixed(2)),
    ["0.60", "0.60", "0.60", "0.20", "1.00"],
  );
  const { layers: [{ neurons }] } = costsOf(model, {
    machine: even,
    sparsity: { mode: "dense" },
    firing,
    positions: 0,
    positionBytes: 0,
  });
  const msOf = (expert: number) =>
    neurons.cpu.subarray(expert * size, (expert + 1) * size)
      .reduce((a, b) => a + b, 0);
  near(msOf(3) / msOf(0), 1 / 3, "the seldom one");
  near(msOf(4) / msOf(0), 1 / 0.6, "the shared one");
  const without = firingOfLayers(model, undefined, "even");
  near(expertShares(model, without[0])[3], 0.5, "without a profile");
});

Deno.test("what is not read in a stream costs what it was measured to", async () => {
  const model = await bamboo("powerinfer");
  const cpu = { ...even.cpu, sum: 5e5, cache: 2.5e5, head: 5e5, layerMs: 0.5 };
  const { attention, ffn, head, total } = megabytes(model, { mode: "exact" }, {
    cpu,
  });
  near(head, 2 * 73.7, "head, of a slower type");
  near(attention, 755 + 4 * 134 + 32 * 0.25, "attention, slow with the past");
  near(ffn, 3171 / 3 * (1 + 0.39 + 2 * 0.148), "FFN, down added up slowly");
  near(total, attention + ffn + 32 * 0.25 + head, "all");
});

Deno.test("a down of outputs is read as a whole, a predictor asks before all", async () => {
  const outputs = megabytes(await bamboo("llama"), { mode: "exact" });
  near(outputs.ffn, 3171 / 3 * (1 + 0.39 + 1), "FFN of ffn_down");
  const { model } = await randomModel({
    downByNeuron: true,
    predictorRank: 16,
    feedForwardSize: 100,
  });
  const costs = costsOf(model, {
    machine: even,
    sparsity: { mode: "predictor" },
    firing: assumedFiring(model, "even"),
    positions: 0,
    positionBytes: 0,
  });
  const [layer] = costs.layers;
  const { fc1, fc2, ffn_gate } = model.layers[0];
  near(layer.ffn.cpu, fc1!.byteLength / 1e6, "fc1");
  near(
    layer.neurons.cpu[0],
    (fc2!.byteLength + (2 * 1.2 + 1) * ffn_gate!.byteLength * 0.148) / 100 /
      1e6,
    "a neuron with its predictor: gate and up where it is selected, down where it fires",
  );
});

Deno.test("norms that both sides share cost a read-back each", async () => {
  const gpu = {
    stream: 1e6,
    readBack: 0.5,
    transfer: 1e3,
    dispatch: 0.01,
    memory: Infinity,
  };
  const readBack = (floats: number) => 0.5 + 4 * floats / 1e3;
  for (
    const [architecture, attention, ffn] of [
      ["olmo2", readBack((4 + 2 * 2) * 16), 0],
      ["bitnet", readBack(64), readBack(96)],
      ["gemma3", 0, 0],
    ] as const
  ) {
    const { model } = await randomModel({ architecture });
    const { layers: [{ squares }] } = costsOf(model, {
      machine: { ...even, gpu },
      sparsity: { mode: "exact" },
      firing: assumedFiring(model, "even"),
      positions: 0,
      positionBytes: 0,
    });
    assert.deepEqual(squares, { attention, ffn });
  }
});

Deno.test("a GPU starts a kernel less in each layer where gate and up are one", async () => {
  const { model } = await randomModel({ type: "F16" });
  const dispatch = 0.01;
  const gpu = {
    stream: 1e6,
    readBack: 0,
    transfer: 1e3,
    dispatch,
    memory: Infinity,
  };
  const started = (mode: "dense" | "exact") => {
    const { layers: [{ ffn }] } = costsOf(model, {
      machine: { ...even, gpu },
      sparsity: { mode },
      firing: assumedFiring(model, "even"),
      positions: 0,
      positionBytes: 0,
    });
    return ffn.gpu / dispatch;
  };
  near(started("dense"), 2, "gate and up, and down");
  near(started("exact"), 3, "gate, up and down");
});

Deno.test("a prediction adds up: every part on its side, every exchange that the engine will make", async () => {
  const { model } = await randomModel({ layerCount: 4, feedForwardSize: 20 });
  for (let seed = 0; seed < 50; seed++) {
    const { costs } = randomCosts(model, seed);
    const gpu: PlacePlan = randomSplit(model, seed);
    const prediction = predict(model, costs, gpu);
    const plan = splitEvenly(model, 1, undefined, gpu);
    let exchange = 0, readBacks = 0;
    for (const stage of scheduleOf(model, plan)) {
      const { kind, layer, sides, before, after } = stage;
      if (before === "residual-to-cpu") readBacks++;
      exchange += before === "residual-to-gpu" ? costs.toGpu : 0;
      exchange += after === "sum-to-gpu" ? costs.toGpu : 0;
      if (sides.length > 1 && (kind === "attention" || kind === "ffn")) {
        exchange += costs.layers[layer].squares[kind];
      }
    }
    assert.equal(prediction.readBacks, readBacks);
    const parts = prediction.layers.reduce((sum, { ms }) => sum + ms, 0);
    near(prediction.ms, parts + prediction.vocabMs, "all");
    const inLayers = prediction.layers.reduce(
      (sum, { exchangeMs }) => sum + exchangeMs,
      0,
    );
    assert(inLayers <= exchange + readBacks * costs.toCpu + 1e-9);
    prediction.layers.forEach((layer, i) => {
      const { neurons } = gpu.parts[i];
      assert.equal(layer.hotShare, lengthOf(neurons) / 20);
      assert(layer.coverage >= 0 && layer.coverage <= 1 + 1e-9);
      const { cpuMs, gpuMs, exchangeMs, ms } = layer;
      assert(ms <= cpuMs + gpuMs + exchangeMs + 1e-9);
      assert(ms >= exchangeMs + Math.max(cpuMs, gpuMs) - 1e-9);
    });
  }
});

Deno.test("without a GPU everything is the CPU's, with one that has it all nothing is", async () => {
  const { model } = await randomModel({ layerCount: 2 });
  const { costs } = randomCosts(model, 3);
  const alone = predict(model, costs);
  assert.equal(alone.readBacks, 0);
  assert(
    alone.layers.every(({ gpuMs, exchangeMs }) => gpuMs + exchangeMs === 0),
  );
  const all = predict(model, costs, {
    vocab: { start: 0, end: model.vocabSize },
    parts: model.layers.map(() => ({
      heads: { start: 0, end: model.headCount },
      neurons: { start: 0, end: model.feedForwardSize },
    })),
  });
  assert.equal(all.readBacks, 0);
  assert(
    all.layers.every(({ cpuMs, coverage }) => cpuMs === 0 && coverage === 1),
  );
});

/** Bytes of each layer that a token reads, as the engine counts them and as a profile lets expect. */
async function countedAndExpected(
  downByNeuron: boolean,
  mode: "dense" | "exact",
) {
  const { bytes, model } = await randomModel({
    downByNeuron,
    feedForwardSize: 512,
  });
  await using loaded = await load(bytes, {
    threads: 0,
    sparsity: { mode },
    countNeurons: true,
  });
  using sequence = loaded.engine.createSequence();
  const tokens = 64;
  for (let i = 0; i < tokens; i++) {
    await loaded.engine.evaluate(sequence, [(7 * i) % 96]);
  }
  const costs = costsOf(model, {
    machine: { cpu: { stream: 1, pick: 1 } },
    sparsity: { mode },
    firing: firingOfLayers(model, loaded.engine.profile(), "even"),
    positions: tokens / 2,
    positionBytes: kvPositionBytes("f16", model.headSize),
  });
  return loaded.engine.stats().layers.map(({ streamed, picked }, i) => {
    const { attention, neurons } = costs.layers[i];
    return {
      counted: (streamed + picked) / tokens,
      expected: attention.cpu + neurons.cpu.reduce((a, b) => a + b, 0),
    };
  });
}

Deno.test("the bytes that are expected are those that the engine counts", async () => {
  const dense = await countedAndExpected(false, "dense");
  for (const { counted, expected } of dense) {
    near(expected, counted, "bytes of a dense layer");
  }
  for (const { counted, expected } of await countedAndExpected(true, "dense")) {
    near(
      expected,
      counted,
      "bytes of a dense layer without what does not fire",
    );
  }
  for (const downByNeuron of [true, false]) {
    const exact = await countedAndExpected(downByNeuron, "exact");
    exact.forEach(({ counted, expected }, i) => {
      // Where rows that are needed lie close together, the gaps are read as well.
      assert(expected <= 1.005 * counted, `${expected} of ${counted}`);
      assert(counted <= 1.005 * dense[i].counted);
      assert(expected < 0.9 * dense[i].expected);
    });
  }
});
