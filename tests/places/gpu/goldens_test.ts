/**
 * The small dReLU model with a GPU, against goldens that others made in f32
 * on the same weights: one text alone, the others together in each step.
 */
import assert from "node:assert/strict";
import { Engine } from "../../../src/engine/engine.ts";
import { readGguf } from "../../../src/formats/gguf/read.ts";
import { describeModel, type Model } from "../../../src/model/model.ts";
import type { PlacePlan } from "../../../src/plan/plan.ts";
import { logSoftmaxAt } from "../../../src/sampling/logprobs.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { bambooFiles, type Golden } from "../../helpers/bamboo_files.ts";
import { gpuTeam } from "../../helpers/gpu_teams.ts";
import { firstLayers, scatteredShare } from "../../helpers/hybrid_plans.ts";

const limits = { tokens: 64, contextSize: 512 };
/** Software drivers take long for each. */
const mostTexts = 3, mostTokens = 16;

const splits: Record<string, (model: Model) => PlacePlan> = {
  "all on the GPU": (model) => firstLayers(model, model.layers.length, true),
  "half of all on the GPU": (model) => scatteredShare(model, 0.5),
  "10% of all on the GPU": (model) => scatteredShare(model, 0.1),
  "three layers on the GPU": (model) => firstLayers(model, 3, false),
};

async function check(engine: Engine, golden: Golden): Promise<void> {
  using sequence = engine.createSequence();
  let [logits] = await engine.evaluate(sequence, golden.prompt_ids);
  const ids: number[] = [];
  for (const { logprob } of golden.steps.slice(0, mostTokens)) {
    const id = logits.indexOf(Math.max(...logits));
    ids.push(id);
    const error = Math.abs(logSoftmaxAt(logits, id) - logprob);
    assert(error < 2e-3, `logprob ${ids.length} is off by ${error}`);
    [logits] = await engine.evaluate(sequence, [id]);
  }
  assert.deepEqual(ids, golden.greedy_ids.slice(0, mostTokens));
}

for (const file of bambooFiles) {
  for (const [name, split] of Object.entries(splits)) {
    testWithAdapter(
      `${file.name}, ${name}: ids and logprobs are the golden's`,
      async () => {
        const source = await file.open();
        const model = describeModel(await readGguf(source));
        const team = await gpuTeam(
          { model, source },
          { mode: "exact" },
          split(model),
          { limits },
        );
        await using engine = new Engine(team, model.vocabSize);
        const [first, ...others] = file.texts().slice(0, mostTexts);
        await check(engine, first);
        await Promise.all(others.map((golden) => check(engine, golden)));
        await source.close();
      },
    );
  }
}
