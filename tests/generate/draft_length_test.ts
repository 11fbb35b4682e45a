/** When drafts pay, by costs and chances that are known. */
import assert from "node:assert/strict";
import { StepCosts } from "../../src/engine/step_costs.ts";
import { Chances, draftLength } from "../../src/generate/draft_length.ts";

/** Costs of steps of 1 to 8 tokens. */
function costsOf(ms: readonly number[], sequences = 1): StepCosts {
  const costs = new StepCosts();
  ms.forEach((time, i) => costs.add(i + 1, time, sequences));
  return costs;
}

const always = (chance: number) => ({ of: () => chance });
const flat = costsOf(Array(8).fill(10));
const linear = costsOf([1, 2, 3, 4, 5, 6, 7, 8].map((tokens) => 10 * tokens));

Deno.test("a draft is as long as steps of more tokens cost little", () => {
  assert.equal(draftLength(3, always(1), flat, 1, 7), 7);
  assert.equal(draftLength(3, always(0.5), flat, 1, 7), 7);
  assert.equal(draftLength(3, always(0), flat, 1, 7), 0);
  assert.equal(draftLength(3, always(0.99), linear, 1, 7), 0);
  // Of 1, 1.6, 1.96 tokens in 10, 14, 19 ms the second is the best.
  const rising = costsOf([10, 14, 19, 24, 29, 34, 39, 44]);
  assert.equal(draftLength(3, always(0.6), rising, 1, 7), 1);
  assert.equal(draftLength(3, always(0.9), rising, 1, 7), 3);
  assert.equal(draftLength(3, always(0.6), rising, 3, 7), 0);
  assert.equal(draftLength(3, always(0.9), flat, 1, 4), 4);
});

Deno.test("what a draft costs other sequences counts", () => {
  // Two more tokens are free beside one sequence, not beside three.
  const ms = [10, 10, 10, 20, 30, 40];
  assert.equal(draftLength(3, always(0.9), costsOf(ms), 1, 2), 2);
  assert.equal(draftLength(3, always(0.9), costsOf(ms, 3), 1, 2), 0);
});

Deno.test("drafts of all together let others wait no longer than twice a step", () => {
  const ms = [10, 11, 12, 13, 14, 17, 19, 21];
  const lengths = [1, 2, 4].map((sequences) =>
    draftLength(3, always(1), costsOf(ms, sequences), 1, 4)
  );
  // To 11 ms half of them may be added, and to 13 a quarter.
  assert.deepEqual(lengths, [4, 3, 1]);
});

Deno.test("nothing is drafted while prompts wait", () => {
  const costs = costsOf(Array(8).fill(10));
  costs.add(5, 10, 2, 4);
  assert.equal(draftLength(3, always(1), costs, 1, 4), 0);
  costs.add(2, 10, 2);
  assert.equal(draftLength(3, always(1), costs, 1, 4), 4);
});

Deno.test("nothing is drafted before a step was measured", () => {
  assert.equal(draftLength(3, always(1), new StepCosts(), 1, 7), 0);
});

Deno.test("chances follow what came, by the length of the match", () => {
  const chances = new Chances();
  for (let i = 0; i < 60; i++) {
    chances.add(3, false);
    chances.add(20, true);
  }
  assert(chances.of(3) < 0.1);
  assert(chances.of(20) > 0.9 && chances.of(16) === chances.of(20));
  const unknown = chances.of(7);
  assert(unknown > 0.4 && unknown < 0.8);
  for (let i = 0; i < 60; i++) chances.add(3, true);
  assert(chances.of(3) > 0.8);
});

Deno.test("what followed twice is likelier than what came once, and that than what changed", () => {
  const chances = new Chances();
  const of = (length: number) =>
    (["changed", "once", "same"] as const).map((support) =>
      chances.of(length, support)
    );
  for (const length of [1, 2, 4, 8, 16]) {
    const [changed, once, same] = of(length);
    assert(changed < once && once < same, `${length}`);
  }
  for (let i = 0; i < 30; i++) chances.add(2, true, "changed");
  const [changed, once] = of(2);
  assert(changed > 0.85 && once === new Chances().of(2));
});
