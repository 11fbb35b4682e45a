import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { measureMachine } from "../../plan.ts";
import { testWithAdapter } from "../helpers/adapter.ts";
import { randomModel } from "../helpers/random_model.ts";

for (const threads of [0, 2]) {
  Deno.test(`rates are measured anew between steps, ${threads} threads`, async () => {
    const { bytes } = await randomModel({ feedForwardSize: 256, type: "Q4_0" });
    await using model = await load(bytes, { threads });
    const { engine } = model;
    const run = async () => {
      using sequence = engine.createSequence();
      return await engine.evaluate(sequence, [1, 2, 3]);
    };
    const before = engine.rates;
    assert.equal(before.length, Math.max(1, threads));
    const expected = await run();
    // Asked for while steps run, and steps asked for while it measures.
    const results = await Promise.all([
      run(),
      engine.measureRates(),
      run(),
      engine.measureRates(),
      run(),
    ]);
    for (const i of [0, 2, 4]) assert.deepEqual(results[i], expected);
    for (const [i, rates] of engine.rates.entries()) {
      for (const name of ["stream", "pick", "tiles", "scatter"] as const) {
        assert(rates[name] > 0 && Number.isFinite(rates[name]));
      }
      assert.equal(rates.rowsAtOnce, before[i].rowsAtOnce);
      assert.equal(rates.rowSums, before[i].rowSums);
      assert.equal(rates.tileSums, before[i].tileSums);
      assert.notDeepEqual(rates, before[i]);
    }
  });
}

Deno.test("rates of a closed model are refused", async () => {
  const { bytes } = await randomModel({});
  const model = await load(bytes, { threads: 0 });
  await model[Symbol.asyncDispose]();
  await assert.rejects(model.engine.measureRates(), /closed/);
});

for (const threads of [0, 2]) {
  Deno.test(`a CPU is measured before anything is loaded, ${threads} threads`, async () => {
    const { model } = await randomModel({ feedForwardSize: 256, type: "Q4_0" });
    const { cpu, gpu } = await measureMachine(model, threads, false);
    assert.equal(gpu, undefined);
    for (
      const rate of [cpu.stream, cpu.pick, cpu.sum!, cpu.cache!, cpu.head!]
    ) {
      assert(rate > 0 && Number.isFinite(rate));
    }
    const { cpu: bare } = await measureMachine(model, threads, false, {
      ratesOnly: true,
    });
    assert.deepEqual(
      [bare.sum === undefined, bare.head, bare.layerMs],
      [false, undefined, undefined],
    );
    assert(cpu.layerMs! >= 0 && cpu.layerMs! < 100);
    // What a plan asks for is not measured where a model is loaded for use.
    const { bytes } = await randomModel({ feedForwardSize: 256, type: "Q4_0" });
    await using loaded = await load(bytes, { threads });
    const [rates] = loaded.engine.rates;
    assert.equal(rates.sum, undefined);
  });

  Deno.test(`rows are measured as they lie where a predictor picks them, ${threads} threads`, async () => {
    const { model } = await randomModel({
      feedForwardSize: 256,
      downByNeuron: true,
      predictorRank: 32,
      type: "Q4_0",
    });
    const { cpu } = await measureMachine(model, threads, false, {
      sparsity: { mode: "predictor" },
    });
    for (const rate of [cpu.stream, cpu.pick, cpu.sum!, cpu.cache!]) {
      assert(rate > 0 && Number.isFinite(rate));
    }
  });

  testWithAdapter(`so is a GPU, ${threads} threads`, async () => {
    const { model } = await randomModel({ feedForwardSize: 256, type: "Q4_0" });
    const { gpu } = await measureMachine(model, threads, true);
    for (const rate of [gpu!.stream, gpu!.readBack]) {
      assert(rate > 0 && Number.isFinite(rate));
    }
  });
}
