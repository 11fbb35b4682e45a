/** What is counted for a sequence: its part of each step, and all of a step that it has alone. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { type PlaceStats, statsSince, totalOf } from "../../lab.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const figures = ["neurons", "upRows", "active", "streamed", "picked"] as const;

function close(actual: PlaceStats, expected: PlaceStats): void {
  for (const name of figures) {
    const [a, b] = [totalOf(actual, name), totalOf(expected, name)];
    assert(Math.abs(a - b) <= 1e-9 * b, `${name}: ${a}, not ${b}`);
  }
  assert.equal(actual.tokens, expected.tokens);
}

for (const threads of [0, 2]) {
  Deno.test(`sequences on ${threads} threads have their parts of steps`, async () => {
    await using model = await load(tinyBamboo(), { threads });
    const { engine } = model;
    const ids = model.tokenize("Once upon a time there was a cat");
    using alone = engine.createSequence();
    await engine.evaluate(alone, ids);
    const first = engine.stats();
    close(alone.stats(), first);

    using a = engine.createSequence();
    using b = engine.createSequence();
    await Promise.all([
      engine.evaluate(a, ids),
      engine.evaluate(b, ids.slice(0, 3)),
    ]);
    const both = statsSince(engine.stats(), first);
    const [ofA, ofB] = [a.stats(), b.stats()];
    assert.equal(ofA.tokens, ids.length);
    assert.equal(ofB.tokens, 3);
    for (const name of figures) {
      const sum = totalOf(ofA, name) + totalOf(ofB, name);
      assert(Math.abs(sum - totalOf(both, name)) <= 1e-9 * sum);
    }
    // A fork begins anew.
    using fork = a.fork();
    assert.equal(totalOf(fork.stats(), "neurons"), 0);
  });
}

Deno.test("a text's summary has its own part of steps that it shares", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const summaries = await Promise.all([12, 30].map((maxTokens) => {
    const { promise, resolve } = Promise.withResolvers<PlaceStats>();
    const done = model.complete("Tom had a", {
      maxTokens,
      temperature: 0,
      ignoreEos: true,
      speculation: "none",
      cachePrompt: false,
      onFinish: ({ completionStats }) => resolve(completionStats),
    });
    return done.then(() => promise);
  }));
  const { feedForwardSize, layers } = model.model;
  summaries.forEach((stats, i) => {
    assert.equal(stats.tokens, [11, 29][i]);
    const neurons = feedForwardSize * layers.length * stats.tokens;
    assert(Math.abs(totalOf(stats, "neurons") - neurons) < 1e-6 * neurons);
  });
});
