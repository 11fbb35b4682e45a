import assert from "node:assert/strict";
import fc from "fast-check";
import { LimitError } from "../../src/errors.ts";
import type { Model } from "../../src/model/model.ts";
import { kvPositionBytes } from "../../src/places/cache_type.ts";
import { deviceBytes } from "../../src/places/gpu/memory/layout.ts";
import { assumedFiring } from "../../src/plan/firing.ts";
import { type Costs, costsOf } from "../../src/plan/costs.ts";
import { gpuPlan, ordersOf } from "../../src/plan/gpu_plan.ts";
import { lengthOf, listOf } from "../../src/model/index_set.ts";
import { knownMachines } from "../../src/plan/machine.ts";
import { type PlacePlan, splitEvenly } from "../../src/plan/plan.ts";
import { predict } from "../../src/plan/prediction.ts";
import { solve, type SolveOptions } from "../../src/plan/solve.ts";
import { powerInferSplit, uniformSplit } from "../../src/plan/splits.ts";
import { scheduleOf, type Side } from "../../src/plan/schedule.ts";
import { synthShapes } from "../../src/lab/synth/options.ts";
import { asType, synthModel } from "../../src/lab/synth/synth_model.ts";
import { randomCosts } from "../helpers/random_costs.ts";
import { randomModel } from "../helpers/random_model.ts";

const experts = { layerCount: 2, expertCount: 2, usedExperts: 1 };

/** Routers of the last one read their layers' input, which attention may have elsewhere. */
const small = [
  { layerCount: 1 },
  { layerCount: 2 },
  { layerCount: 3 },
  { ...experts, architecture: "qwen3moe" },
  { ...experts, architecture: "smallthinker" },
].map(async (options) =>
  (await randomModel({ feedForwardSize: 5, vocabSize: 8, ...options })).model
);

/** Every plan with attention whole, and the hottest neurons of each layer or experts. */
function* everyPlan(model: Model, costs: Costs): Generator<PlacePlan> {
  const sides: Side[] = ["cpu", "gpu"];
  const choices = model.layers.map((_, layer) =>
    ordersOf(model, costs, layer).flatMap((order) =>
      Array.from(
        { length: model.feedForwardSize / order.unit + 1 },
        (_, units) => ({ order, hot: units * order.unit }),
      )
    ).flatMap((choice) => sides.map((attention) => ({ ...choice, attention })))
  );
  const count = choices.reduce((product, { length }) => product * length, 1);
  for (const vocab of sides) {
    for (let code = 0; code < count; code++) {
      let rest = code;
      const layers = choices.map((layer) => {
        const choice = layer[rest % layer.length];
        rest = Math.floor(rest / layer.length);
        return choice;
      });
      yield gpuPlan(model, { layers, vocab });
    }
  }
}

const usedLayers = ({ parts }: PlacePlan) =>
  parts.filter(({ heads, neurons }) => lengthOf(heads) + lengthOf(neurons) > 0)
    .length;

Deno.test("no plan within the limits is predicted to be faster than the solver's", async () => {
  const models = await Promise.all(small);
  fc.assert(
    fc.property(
      fc.nat({ max: small.length - 1 }),
      fc.nat(),
      fc.integer({ min: 0, max: 125 }),
      fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
      (index, seed, quarter, gpuLayers) => {
        const model = models[index];
        const { costs, bytesOf } = randomCosts(model, seed);
        const budget = 4 * quarter;
        const solution = solve(model, costs, { budget, bytesOf, gpuLayers });
        let best = predict(model, costs).ms;
        for (const plan of everyPlan(model, costs)) {
          const layers = gpuLayers ?? Infinity;
          if (
            bytesOf(plan) > budget || usedLayers(plan) > layers ||
            (lengthOf(plan.vocab) > 0 && layers <= model.layers.length)
          ) continue;
          best = Math.min(best, predict(model, costs, plan).ms);
        }
        const { ms } = solution.prediction;
        assert(Math.abs(ms - best) < 1e-9, `${ms} ms, the best has ${best}`);
      },
    ),
    { numRuns: 60, seed: 1 },
  );
});

Deno.test("a plan holds its budget and its layers, and more of either makes none slower", async () => {
  const { model } = await randomModel({
    layerCount: 5,
    feedForwardSize: 28, // few enough to be moved one by one
    vocabSize: 8,
  });
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const { costs, bytesOf } = randomCosts(model, seed);
      const check = (options: Omit<SolveOptions, "bytesOf">) => {
        const { gpu, bytes, prediction } = solve(model, costs, {
          ...options,
          bytesOf,
        });
        assert(bytes <= options.budget || (bytes === 0 && !gpu));
        assert.equal(bytes, gpu ? bytesOf(gpu) : 0);
        assert((gpu ? usedLayers(gpu) : 0) <= (options.gpuLayers ?? Infinity));
        return prediction.ms;
      };
      let slowest = Infinity;
      for (let budget = 0; budget <= 6400; budget += 400) {
        const ms = check({ budget });
        assert(ms <= slowest + 1e-9, `${ms} ms of ${budget} bytes`);
        slowest = ms;
      }
      slowest = Infinity;
      for (let gpuLayers = 0; gpuLayers <= 4; gpuLayers++) {
        const ms = check({ budget: 3000, gpuLayers });
        assert(ms <= slowest + 1e-9, `${ms} ms of ${gpuLayers} layers`);
        slowest = ms;
      }
    }),
    { numRuns: 30, seed: 2 },
  );
});

Deno.test("what grows with the largest part is kept within the budget", async () => {
  const { model } = await randomModel({ layerCount: 4, feedForwardSize: 64 });
  const { costs, bytesOf } = randomCosts(model, 5);
  // Scratch for the widest part, and rounding that no sum foresees.
  const uneven = (plan: PlacePlan) =>
    bytesOf(plan) +
    8 * Math.max(...plan.parts.map(({ neurons }) => lengthOf(neurons))) +
    10 * plan.parts.filter(({ neurons }) => lengthOf(neurons) > 0).length;
  for (let budget = 0; budget < 6000; budget += 111) {
    const { gpu, bytes } = solve(model, costs, { budget, bytesOf: uneven });
    assert(bytes <= budget);
    assert.equal(bytes, gpu ? uneven(gpu) : 0);
  }
});

Deno.test("neurons of a quantised ffn_down go by whole blocks, given ones as given", async () => {
  const { model } = await randomModel({
    type: "Q4_0",
    feedForwardSize: 160,
    layerCount: 3,
  });
  const { costs, bytesOf } = randomCosts(model, 7);
  const { gpu } = solve(model, costs, { budget: 4000, bytesOf });
  let partly = 0;
  for (const { neurons } of gpu!.parts) {
    assert.equal(lengthOf(neurons) % 32, 0);
    const ids = listOf(neurons);
    ids.forEach((id, i) => assert.equal(id % 32, i % 32));
    if (ids.length > 0 && ids.length < 160) partly++;
  }
  assert(partly > 0);
  const neurons = model.layers.map((_, i) =>
    Uint32Array.from({ length: 32 }, (_, j) => 32 * i + j)
  );
  const given = solve(model, costs, { budget: 4000, bytesOf, neurons });
  given.gpu!.parts.forEach((part, i) =>
    assert.deepEqual(listOf(part.neurons), neurons[i])
  );
  assert.throws(
    () => solve(model, costs, { budget: 1000, bytesOf, neurons }),
    (error: Error) =>
      error instanceof LimitError && /1000 bytes/.test(error.message),
  );
});

Deno.test("at Bamboo-7B's size no uniform split, nor PowerInfer's, is faster at any budget", async () => {
  const f16 = await synthModel({
    shape: synthShapes["bamboo-7b"],
    type: "F16",
    form: "powerinfer",
    activation: "drelu",
    gatePositive: 0.39,
    active: 0.148,
    seed: 1,
  });
  const firing = assumedFiring(f16, "bamboo");
  const positionBytes = kvPositionBytes("f16", f16.headSize);
  const machine = knownMachines["rtx-2080ti"];
  for (const type of ["F16", "Q4_0"] as const) {
    const model = asType(f16, type);
    const costs = costsOf(model, {
      machine,
      sparsity: { mode: "exact" },
      firing,
      positions: 1024,
      positionBytes,
    });
    const bytesOf = (plan: PlacePlan) =>
      deviceBytes({
        model,
        plan,
        sparsity: { mode: "exact" },
        limits: { tokens: 128, contextSize: 4096 },
        cacheType: "f16",
      }).all;
    let slowest = Infinity;
    for (const gibibytes of [2, 4, 6, 8, 11]) {
      const options = { budget: gibibytes * 2 ** 30, bytesOf };
      const ours = solve(model, costs, options);
      const uniform = uniformSplit(model, costs, options, 64);
      const powerInfer = powerInferSplit(model, costs, options);
      const { ms } = ours.prediction;
      const what = `${type}, ${gibibytes} GiB: ${ms} ms`;
      assert(ours.bytes <= options.budget, what);
      assert(
        ms <= uniform.prediction.ms,
        `${what}, ${uniform.prediction.ms} uniform`,
      );
      assert(
        ms <= powerInfer.prediction.ms,
        `${what}, ${powerInfer.prediction.ms} as PowerInfer`,
      );
      assert(ms <= slowest, what);
      slowest = ms;
    }
  }
});

Deno.test("where waiting for a result is dear, layers are whole, and few residuals are handed down", async () => {
  const { model } = await randomModel({
    layerCount: 6,
    feedForwardSize: 4096,
    downByNeuron: true,
  });
  const { gpu, cpu } = knownMachines["rtx-2080ti"];
  const readBacks = (readBack: number) => {
    // Bytes are few here: a slow machine makes them weigh.
    const machine = {
      cpu: { stream: cpu.stream / 1e3, pick: cpu.pick / 1e3 },
      gpu: { ...gpu!, stream: gpu!.stream / 1e3, dispatch: 0, readBack },
    };
    const costs = costsOf(model, {
      machine,
      sparsity: { mode: "exact" },
      firing: assumedFiring(model, "bamboo"),
      positions: 64,
      positionBytes: 64,
    });
    const bytesOf = ({ parts }: PlacePlan) =>
      parts.reduce((sum, { neurons }) => sum + lengthOf(neurons), 0);
    const budget = 3 * model.feedForwardSize;
    const { gpu: plan } = solve(model, costs, { budget, bytesOf });
    const schedule = scheduleOf(model, splitEvenly(model, 2, undefined, plan));
    return schedule.filter(({ before }) => before === "residual-to-cpu").length;
  };
  assert.equal(readBacks(0), model.layers.length);
  assert(readBacks(12) <= 1);
});
