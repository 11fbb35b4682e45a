import assert from "node:assert/strict";
import { load } from "../../../mod.ts";
import {
  countActivity,
  expertUnionShares,
  expertUse,
  liveShares,
  type NeuronActivity,
  sumActivities,
  unionShares,
} from "../../../src/lab/sparsity/activity.ts";
import { unionSizes } from "../../../src/lab/sparsity/union.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../../helpers/random_model.ts";
import { seededRandom } from "../../helpers/seeded_random.ts";
import { liveNeurons } from "./reference.ts";

const random = seededRandom(5);
const ids = Array.from({ length: 40 }, () => Math.floor(96 * random()));

const kinds: Record<string, RandomModelOptions> = {
  dense: { downByNeuron: true },
  "mixture of experts": {
    architecture: "smallthinker",
    expertCount: 6,
    feedForwardSize: 40,
  },
};

/** The same of some tokens' live neurons, by loops over sets. */
function naiveUnions(tokens: readonly Set<number>[], neurons: number) {
  return unionSizes.map((size) => {
    const windows = tokens.slice(size - 1).map((_, first) =>
      new Set(tokens.slice(first, first + size).flatMap((live) => [...live]))
    );
    return windows.reduce((sum, { size }) => sum + size, 0) /
      (windows.length * neurons);
  });
}

for (const [kind, options] of Object.entries(kinds)) {
  for (const threads of [0, 3]) {
    Deno.test(`${threads} threads count of a ${kind} what the reference place does`, async () => {
      const made = await randomModel(options);
      const { feedForwardSize, expertCount, routing } = made.model;
      const live = await liveNeurons(made, ids);
      await using model = await load(made.bytes, {
        threads,
        cacheType: "f32",
        countNeurons: true,
      });
      const activity = await countActivity(model.engine, made.model, ids);
      const near = (actual: number[], expected: number[]) =>
        actual.forEach((value, i) =>
          assert.ok(Math.abs(value - expected[i]) < 1e-12, `${actual}`)
        );
      const size = feedForwardSize / expertCount;
      live.forEach((tokens, layer) => {
        near(
          unionShares(activity)[layer],
          naiveUnions(tokens, feedForwardSize),
        );
        const shares = tokens.map((own) => own.size / feedForwardSize)
          .sort((a, b) => a - b);
        const { mean, p5, median, p95 } = liveShares(activity)[layer];
        near(
          [mean, p5, median, p95],
          [
            shares.reduce((a, b) => a + b) / 40,
            shares[1],
            shares[19],
            shares[37],
          ],
        );
        if (!routing) return;
        const chosen = tokens.map((own) =>
          new Set([...own].map((neuron) => Math.floor(neuron / size)))
        );
        for (const experts of chosen) assert.equal(experts.size, routing.used);
        near(
          expertUse(activity)[layer],
          Array.from(
            { length: expertCount },
            (_, expert) =>
              chosen.filter((experts) => experts.has(expert)).length / 40,
          ),
        );
        near(
          expertUnionShares(activity)[layer],
          naiveUnions(chosen, expertCount),
        );
      });
      if (!routing) assert.deepEqual(expertUse(activity), []);
    });
  }
}

Deno.test("texts add up: no window reaches from one into another", async () => {
  const made = await randomModel();
  await using model = await load(made.bytes, {
    threads: 0,
    countNeurons: true,
  });
  const count = (some: number[]) =>
    countActivity(model.engine, made.model, some);
  const parts = [await count(ids.slice(0, 10)), await count(ids.slice(10, 13))];
  const sum = sumActivities(parts);
  assert.deepEqual(sum.windows, [13, 9 + 2, 7, 3, 0, 0]);
  const tokens = ({ layers }: NeuronActivity) =>
    layers.map(({ live }) => live.reduce((all, [, times]) => all + times, 0));
  assert.deepEqual(tokens(sum), [13, 13]);
  sum.layers.forEach(({ union, live }, layer) => {
    const own = parts.map(({ layers }) => layers[layer].union);
    assert.deepEqual(union, own[0].map((value, i) => value + own[1][i]));
    assert.deepEqual(live, live.toSorted(([a], [b]) => a - b));
  });
  // The second is counted as it is in an engine that has run nothing before.
  await using fresh = await load(made.bytes, {
    threads: 0,
    countNeurons: true,
  });
  assert.deepEqual(
    await countActivity(fresh.engine, made.model, ids.slice(10, 13)),
    parts[1],
  );
});
