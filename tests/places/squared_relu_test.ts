/** Models whose FFN has no gate: up is read whole, and of down the rows alone whose neurons fire. */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { totalOf } from "../../src/places/stats.ts";
import { randomModel } from "../helpers/random_model.ts";
import { cpuTeam } from "../helpers/teams.ts";

for (const architecture of ["arcee", "nemotron"]) {
  Deno.test(`${architecture}: down's rows of neurons that are zero are not read`, async () => {
    const made = await randomModel({ architecture, downByNeuron: true });
    const { vocabSize, feedForwardSize, layers } = made.model;
    const team = await cpuTeam(made, splitEvenly(made.model, 2), {
      mode: "exact",
    });
    await using engine = new Engine(team, vocabSize);
    using sequence = engine.createSequence();
    for (const id of [3, 1, 4, 1, 5]) await engine.evaluate(sequence, [id]);
    const stats = engine.stats();
    const all = 5 * layers.length * feedForwardSize;
    assert.equal(totalOf(stats, "neurons"), all);
    assert.equal(totalOf(stats, "gateRows"), 0);
    assert.equal(totalOf(stats, "upRows"), all);
    const active = totalOf(stats, "active");
    assert.equal(totalOf(stats, "downRows"), active);
    assert.equal(totalOf(stats, "gatePositive"), active);
    assert(active > 0.3 * all && active < 0.7 * all, `${active} of ${all}`);
    const rowBytes = layers[0].ffn_down_t!.byteLength / feedForwardSize;
    assert.equal(totalOf(stats, "picked"), active * rowBytes);
  });
}
