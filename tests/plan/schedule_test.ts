import assert from "node:assert/strict";
import type { Model } from "../../src/model/model.ts";
import { type PlacePlan, splitEvenly } from "../../src/plan/plan.ts";
import { scheduleOf } from "../../src/plan/schedule.ts";
import { firstLayers, scatteredShare } from "../helpers/hybrid_plans.ts";
import { randomModel } from "../helpers/random_model.ts";

/** What is handed over, stage by stage: `ffn 0: residual-to-cpu > cpu+gpu > sum-to-gpu`. */
function handed(model: Model, gpu?: PlacePlan): string[] {
  return scheduleOf(model, splitEvenly(model, 2, undefined, gpu)).map((s) =>
    [s.before, s.sides.join("+"), s.after].filter((part) => part).join(" > ")
  );
}

Deno.test("CPU places alone sum after every stage", async () => {
  const { model } = await randomModel({ layerCount: 2 });
  assert.deepEqual(handed(model), [
    ...Array(5).fill("cpu > all-reduce"),
    "cpu",
  ]);
});

Deno.test("a GPU that holds all hands nothing over", async () => {
  const { model } = await randomModel({ layerCount: 2 });
  assert.deepEqual(handed(model, firstLayers(model, 2, true)), [
    ...Array(6).fill("gpu"),
  ]);
});

Deno.test("with attention on the GPU a hybrid layer hands one residual down and one sum up", async () => {
  const { model } = await randomModel({ layerCount: 2 });
  const gpu = scatteredShare(model, 0.5);
  const heads = { start: 0, end: model.headCount };
  const vocab = { start: 0, end: model.vocabSize };
  const parts = gpu.parts.map((part) => ({ ...part, heads }));
  const layer = ["gpu", "residual-to-cpu > cpu+gpu > sum-to-gpu"];
  assert.deepEqual(
    handed(model, { vocab, parts }),
    ["gpu", ...layer, ...layer, "gpu"],
  );
});

Deno.test("whole layers hand a residual over where the side changes", async () => {
  const { model } = await randomModel({ layerCount: 3 });
  assert.deepEqual(handed(model, firstLayers(model, 2, false)), [
    "cpu > all-reduce",
    "residual-to-gpu > gpu",
    "gpu",
    "gpu",
    "gpu",
    "residual-to-cpu > cpu > all-reduce",
    "cpu > all-reduce",
    "cpu",
  ]);
});
