import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { ScoreCounts } from "../../src/places/score_counts.ts";
import { fixtureUrl } from "../helpers/fixtures.ts";

Deno.test("a threshold is reached by as many scores as are wanted, and hardly more", () => {
  const counts = new ScoreCounts(3);
  const scores = Float32Array.from({ length: 2000 }, (_, i) => (i - 600) / 100);
  // Every other neuron fires.
  const h = scores.map((_, i) => i % 2);
  counts.add(1, scores, h);
  counts.add(2, Float32Array.of(Infinity, -1, 0), h.subarray(1, 4));
  const firing = scores.filter((_, i) => i % 2);
  for (const recall of [0.01, 0.3, 0.65, 0.7, 0.71, 0.95, 1]) {
    const [none, least] = counts.thresholds(recall);
    assert.equal(none, Infinity);
    const reached = firing.filter((score) => score >= least).length;
    assert.ok(reached >= recall * 1000, `${recall}: ${reached}`);
    // Scores of a bucket, a 128th of their size, are not told apart.
    const inBucket = Math.ceil(Math.abs(least) / 128 / 0.02);
    assert.ok(reached <= recall * 1000 + inBucket, `${recall}: ${reached}`);
  }
  assert.deepEqual([0.5, 1].map((recall) => counts.thresholds(recall)[2]), [
    Infinity,
    0,
  ]);
});

Deno.test("threads count scores together, as one does", async () => {
  const thresholds = async (threads: number) => {
    await using model = await load(
      fixtureUrl("small-bamboo/f16.powerinfer.gguf"),
      { threads, sparsity: { mode: "predictor" }, measureRecall: true },
    );
    const { engine } = model;
    using sequence = engine.createSequence({ threshold: -1e30 });
    const ids = model.tokenize("Tom had a red ball. He ran to the park.");
    await engine.evaluate(sequence, ids, "none");
    return engine.recallThresholds(0.9);
  };
  const alone = await thresholds(0), together = await thresholds(2);
  alone.forEach((least, layer) => {
    const difference = Math.abs(together[layer] - least);
    assert.ok(difference <= Math.abs(least) / 64, `${layer}: ${difference}`);
  });
});
