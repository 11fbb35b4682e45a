/** What steps of so many tokens take, as the times of others say. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { StepCosts } from "../../src/engine/step_costs.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

Deno.test("a step's cost is the median of the last, or lies between others", () => {
  const costs = new StepCosts();
  assert.equal(costs.ms(1), undefined);
  for (const ms of [99, 10, 11, 400, 9, 10]) costs.add(1, ms, 1);
  assert.equal(costs.ms(1), 10);
  assert.equal(costs.ms(4), 20);
  costs.add(101, 210, 1);
  assert.equal(costs.ms(51), 110);
  costs.add(6, 25, 1);
  assert.equal(costs.ms(6), 25);
  assert.equal(costs.ms(404), 420);
  // What is old is forgotten, and the prompt's step stays.
  for (let i = 0; i < 1100; i++) costs.add(1, 10, 1);
  assert.equal(costs.ms(6), 20);
});

Deno.test("an engine measures its steps, by the tokens of all sequences", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, batchSize: 16 });
  const { engine } = model;
  using a = engine.createSequence();
  using b = engine.createSequence();
  assert.equal(engine.stepCosts.ms(16), undefined);
  await engine.evaluate(a, [1, 2, 3]);
  assert.equal(engine.stepCosts.ms(2), undefined);
  assert(engine.stepCosts.ms(3)! > 0);
  await Promise.all([engine.evaluate(a, [4]), engine.evaluate(b, [5])]);
  assert(engine.stepCosts.ms(2)! > 0);
  assert.equal(engine.stepCosts.sequences, 2);
});
