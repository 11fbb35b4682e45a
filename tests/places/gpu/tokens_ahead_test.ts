/** Greedy tokens that are computed ahead: the same text, the same counts, fewer read-backs. */
import assert from "node:assert/strict";
import { Engine } from "../../../src/engine/engine.ts";
import type { Sequence } from "../../../src/engine/sequence.ts";
import type { Sparsity } from "../../../src/plan/sparsity.ts";
import { topLogits } from "../../../src/sampling/top_logits.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { gpuTeam } from "../../helpers/gpu_teams.ts";
import { firstLayers } from "../../helpers/hybrid_plans.ts";
import { type RandomModel, randomModel } from "../../helpers/random_model.ts";

const exact: Sparsity = { mode: "exact" };

/** The likeliest token behind `id`: by the device, or from whole rows, for which nothing is computed ahead. */
type Step = (
  engine: Engine,
  sequence: Sequence,
  id: number,
) => Promise<[id: number, logit: number]>;

const picked: Step = async (engine, sequence, id) => {
  const { ids, logits } = await engine.evaluateTop(sequence, [id], 1);
  return [ids[0], logits[0]];
};

const fromRows: Step = async (engine, sequence, id) => {
  const [row] = await engine.evaluate(sequence, [id]);
  const { ids, logits } = topLogits(row, 1);
  return [ids[0], logits[0]];
};

/** Runs a text with a step of some kind, and gives what the place counted. */
async function run(
  made: RandomModel,
  step: Step,
  text: (
    engine: Engine,
    next: (sequence: Sequence, id: number) => Promise<number>,
  ) => Promise<void>,
  plan = firstLayers(made.model, made.model.layers.length, true),
) {
  const team = await gpuTeam(made, exact, plan);
  await using engine = new Engine(team, made.model.vocabSize);
  const results: [number, number][] = [];
  await text(engine, async (sequence, id) => {
    const result = await step(engine, sequence, id);
    results.push(result);
    return result[0];
  });
  const layers = engine.stats().layers.map((layer) => ({ ...layer }));
  return { results, layers, counts: { ...team.gpu!.counts } };
}

const models = ["Q4_0", "F16"] as const;

for (const type of models) {
  testWithAdapter(
    `a greedy text of ${type} is the same, with a read-back for four tokens`,
    async () => {
      const made = await randomModel({ type, downByNeuron: true });
      const text = async (
        engine: Engine,
        next: (sequence: Sequence, id: number) => Promise<number>,
      ) => {
        using sequence = engine.createSequence();
        await engine.evaluate(sequence, [1, 2, 3], "none");
        let id = 4;
        for (let i = 0; i < 60; i++) id = await next(sequence, id);
      };
      const ahead = await run(made, picked, text);
      const plain = await run(made, fromRows, text);
      assert.deepEqual(ahead.results, plain.results);
      // Some were computed that nobody asked for.
      for (const [i, layer] of ahead.layers.entries()) {
        assert.equal(layer.active, plain.layers[i].active);
        assert.equal(layer.neurons, plain.layers[i].neurons);
        assert.equal(layer.picked, plain.layers[i].picked);
      }
      assert.equal(plain.counts.readBacks, 60);
      // Tokens 1, 2 to 5 and so on; none is computed for a page that may not be there.
      assert(ahead.counts.readBacks <= 20, `${ahead.counts.readBacks}`);
    },
  );
}

testWithAdapter(
  "what is computed ahead is dropped where something else comes",
  async () => {
    const made = await randomModel({ type: "Q8_0" });
    const text = async (
      engine: Engine,
      next: (sequence: Sequence, id: number) => Promise<number>,
    ) => {
      using sequence = engine.createSequence();
      using other = engine.createSequence();
      await engine.evaluate(sequence, [1, 2, 3], "none");
      await engine.evaluate(other, [7], "none");
      for (let round = 0; round < 4; round++) {
        let id = round;
        for (let i = 0; i < 4 + round; i++) id = await next(sequence, id);
        // Another token than the likeliest
        id = await next(sequence, (id + 1) % 50);
        // Another sequence, with the same token
        await next(other, id);
        id = await next(sequence, id);
        id = await next(sequence, id);
        // Positions that are gone, and a fork that shares a page
        sequence.truncate(sequence.length - 3);
        id = await next(sequence, id);
        id = await next(sequence, id);
        using fork = sequence.fork();
        await next(fork, id);
        id = await next(sequence, id);
        await engine.evaluate(sequence, [5, 6], "none");
        await next(sequence, id);
      }
    };
    const ahead = await run(made, picked, text);
    const plain = await run(made, fromRows, text);
    assert.deepEqual(ahead.results, plain.results);
    ahead.layers.forEach((layer, i) =>
      assert.equal(layer.active, plain.layers[i].active)
    );
    assert(ahead.counts.readBacks < plain.counts.readBacks);
  },
);

testWithAdapter(
  "nothing is computed ahead where the CPU has a part",
  async () => {
    const made = await randomModel({ type: "Q8_0", layerCount: 3 });
    const text = async (
      engine: Engine,
      next: (sequence: Sequence, id: number) => Promise<number>,
    ) => {
      using sequence = engine.createSequence();
      let id = 4;
      for (let i = 0; i < 12; i++) id = await next(sequence, id);
    };
    const plan = firstLayers(made.model, 2, true);
    const ahead = await run(made, picked, text, plan);
    const plain = await run(made, fromRows, text, plan);
    assert.deepEqual(ahead.results, plain.results);
    assert.equal(ahead.counts.readBacks, plain.counts.readBacks);
  },
);
