/** How a GPU place fails, what it counts, and that its ways of waiting agree. */
import assert from "node:assert/strict";
import { Engine } from "../../../src/engine/engine.ts";
import { GpuError, LimitError } from "../../../src/errors.ts";
import { Device } from "../../../src/places/gpu/device/device.ts";
import { deviceBytes } from "../../../src/places/gpu/memory/layout.ts";
import { type PlacePlan, splitEvenly } from "../../../src/plan/plan.ts";
import type { Sparsity } from "../../../src/plan/sparsity.ts";
import { gpuTeam } from "../../helpers/gpu_teams.ts";
import { firstLayers, scatteredShare } from "../../helpers/hybrid_plans.ts";
import { randomModel } from "../../helpers/random_model.ts";
import { limits, referenceTeam } from "../../helpers/teams.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";

const exact: Sparsity = { mode: "exact" };

testWithAdapter(
  "further sequences get room while the budget has it",
  async () => {
    const made = await randomModel({ type: "F16" });
    const { model } = made;
    const plan = firstLayers(model, 2, true);
    const { all } = deviceBytes({
      model,
      plan,
      sparsity: exact,
      limits,
      cacheType: "f32",
    });
    const run = async (engine: Engine, count: number) => {
      const rows: number[] = [];
      const sequences = [];
      for (let s = 0; s < count; s++) {
        const sequence = engine.createSequence();
        sequences.push(sequence);
        const ids = Array.from({ length: 60 }, (_, i) => (7 * i + s) % 90);
        rows.push(...(await engine.evaluate(sequence, ids))[0]);
      }
      // The first ones' keys and values have moved with the cache.
      for (const sequence of sequences) {
        rows.push(...(await engine.evaluate(sequence, [1]))[0]);
      }
      for (const sequence of sequences) sequence[Symbol.dispose]();
      return rows;
    };
    const expected = await (async () => {
      const team = await referenceTeam(made, splitEvenly(model, 1), exact);
      await using engine = new Engine(team, model.vocabSize);
      return await run(engine, 4);
    })();
    const team = await gpuTeam(made, exact, plan);
    await using engine = new Engine(team, model.vocabSize);
    const actual = await run(engine, 4);
    expected.forEach((value, i) => assert(Math.abs(actual[i] - value) < 1e-4));
    assert(team.gpu!.bytes > all);

    const tight = await gpuTeam(made, exact, plan, { budgetBytes: all + 1000 });
    await using limited = new Engine(tight, model.vocabSize);
    await assert.rejects(run(limited, 4), LimitError);
  },
);

testWithAdapter(
  "both ways of waiting give the same bits, run after run",
  async () => {
    const made = await randomModel({ type: "Q4_0", downByNeuron: true });
    const { model } = made;
    const runs: Float32Array[][] = [];
    for (const readBack of ["synchronous", "awaited", "awaited"] as const) {
      const team = await gpuTeam(
        made,
        exact,
        scatteredShare(model, 0.4),
        { readBack },
      );
      assert.match(team.gpu!.name, new RegExp(`${readBack} read-back`));
      await using engine = new Engine(team, model.vocabSize);
      using sequence = engine.createSequence();
      const rows = await engine.evaluate(sequence, [5, 6, 7, 8], "all");
      rows.push(...await engine.evaluate(sequence, [9]));
      runs.push(rows.map((row) => row.slice()));
    }
    assert.deepEqual(runs[1], runs[0]);
    assert.deepEqual(runs[2], runs[0]);
  },
);

testWithAdapter(
  "counters tell what was computed and what was skipped",
  async () => {
    for (const downByNeuron of [false, true]) {
      const made = await randomModel({
        type: "F16",
        feedForwardSize: 400,
        layerCount: 1,
        downByNeuron,
      });
      const { model } = made;
      const plan = splitEvenly(model, 1);
      const stats = async (team: ConstructorParameters<typeof Engine>[0]) => {
        await using engine = new Engine(team, model.vocabSize);
        using sequence = engine.createSequence();
        await engine.evaluate(sequence, [1, 2, 3, 4, 5]);
        for (let id = 0; id < 5; id++) await engine.evaluate(sequence, [id]);
        return engine.stats().layers[0];
      };
      const expected = await stats(await referenceTeam(made, plan, exact));
      const actual = await stats(await gpuTeam(made, exact));
      assert.equal(actual.neurons, 4000);
      assert.equal(actual.gateRows, 4000);
      assert.equal(actual.gatePositive, expected.gatePositive);
      assert.equal(actual.active, expected.active);
      assert(actual.upRows > 2000 && actual.upRows < 4000);
      assert.equal(actual.downRows, downByNeuron ? actual.active : 4000);
      assert(actual.picked > 0 && actual.picked < actual.streamed);
      const dense = await stats(await gpuTeam(made, { mode: "dense" }));
      assert.equal(dense.upRows, 4000);
      assert.equal(dense.active, actual.active);
    }
  },
);

testWithAdapter(
  "a device is measured, and measuring is not counted",
  async () => {
    const made = await randomModel({ type: "Q8_0" });
    const asked = { forPlan: true };
    const team = await gpuTeam(made, exact, undefined, asked);
    await using engine = new Engine(team, made.model.vocabSize);
    const { gpu } = team.sides;
    await gpu.measure();
    assert(gpu.stats.readBackMs > 0 && gpu.stats.speed!.stream > 0);
    assert.deepEqual(Object.values(gpu.stats.counts), [0, 0, 0, 0, 0]);
    using sequence = engine.createSequence();
    const [before] = await engine.evaluate(sequence, [1, 2]);
    const kept = before.slice();
    await gpu.measure();
    using again = engine.createSequence();
    const [after] = await engine.evaluate(again, [1, 2]);
    assert.deepEqual(after, kept);

    // Without being asked it takes the time of a read-back alone.
    const { sides } = await gpuTeam(made, exact);
    await sides.gpu.measure();
    assert(sides.gpu.stats.readBackMs > 0);
    assert.equal(sides.gpu.stats.speed, undefined);
  },
);

for (const readBack of ["synchronous", "awaited"] as const) {
  testWithAdapter(
    `a lost device is reported, ${readBack} read-back`,
    async () => {
      const made = await randomModel();
      const { model } = made;
      for (const plan of [undefined, scatteredShare(model, 0.5)]) {
        const device = await Device.open();
        const team = await gpuTeam(made, exact, plan, { readBack, device });
        const engine = new Engine(team, model.vocabSize);
        using sequence = engine.createSequence();
        await engine.evaluate(sequence, [1]);
        const { gpu } = team.sides;
        // In the middle of a step, before its results are read.
        const down = gpu.down.bind(gpu);
        gpu.down = (layer, batch) => {
          down(layer, batch);
          device.destroy();
        };
        const lost = (error: Error) => {
          assert(error instanceof GpuError);
          assert.match(error.message, /^The GPU failed \(.+\): \S/);
          return true;
        };
        await assert.rejects(engine.evaluate(sequence, [2]), lost);
        lost(await gpu.device.lost);
        assert.throws(() => gpu.begin(team.batch), lost);
      }
    },
  );
}

testWithAdapter(
  "neurons that a plan says are hot skip the predictor",
  async () => {
    const made = await randomModel({
      predictorRank: 12,
      downByNeuron: true,
      type: "F16",
    });
    const { model } = made;
    const { vocab, parts } = firstLayers(model, 2, true);
    const hot = { vocab, parts: parts.map((part) => ({ ...part, hot: true })) };
    const run = async (sparsity: Sparsity, plan: PlacePlan) => {
      const team = await gpuTeam(made, sparsity, plan);
      await using engine = new Engine(team, model.vocabSize);
      using sequence = engine.createSequence();
      const [row] = await engine.evaluate(sequence, [1, 2, 3]);
      return { row: row.slice(), asked: engine.stats().layers[0].predicted };
    };
    // A predictor that asks for nothing.
    const none = { mode: "predictor", threshold: 1e9 } as const;
    const cold = await run(none, { vocab, parts });
    assert.equal(cold.asked, 0);
    assert.deepEqual((await run(none, hot)).row, (await run(exact, hot)).row);
    assert.notDeepEqual((await run(none, hot)).row, cold.row);
  },
);
