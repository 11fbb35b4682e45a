import assert from "node:assert/strict";
import { PromptPace } from "../../src/engine/prompt_pace.ts";
import { StepCosts } from "../../src/engine/step_costs.ts";
import { load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/** Steps with 300 tokens of a prompt that wait, on a machine: what the last took, and how many tokens of the prompt it had. */
function steps(
  pace: PromptPace,
  next: number,
  stepMs: (prompt: number) => number,
): { prompt: number; ms: number } {
  let prompt = 0, ms = 0;
  for (let i = 0; i < 40; i++) {
    const written = Array.from({ length: next }, () => 1);
    prompt = pace.slots([300, ...written], 128) - next;
    ms = stepMs(prompt);
    pace.learn([prompt, ...written], ms);
  }
  return { prompt, ms };
}

function paceOf(ms: Readonly<Record<number, number>>): PromptPace {
  const costs = new StepCosts();
  for (const [tokens, each] of Object.entries(ms)) {
    costs.add(Number(tokens), each, Number(tokens));
  }
  return new PromptPace(costs);
}

Deno.test("texts go on at half their pace beside a prompt, whatever a machine's tokens take", () => {
  const pace = paceOf({ 1: 10, 4: 20 });
  for (const tokenMs of [0.5, 0.8, 0.25, 0.5]) {
    const { prompt, ms } = steps(pace, 1, (prompt) => 10 + tokenMs * prompt);
    assert(ms > 17 && ms <= 21, `${ms} ms with ${prompt} tokens`);
  }
  const { ms } = steps(pace, 4, (prompt) => 20 + 0.5 * prompt);
  assert(ms > 37 && ms <= 41, `${ms} ms`);
});

Deno.test("a prompt has some tokens in each step, however slow they are, and no more than a step takes", () => {
  const pace = paceOf({ 1: 10 });
  assert.equal(steps(pace, 1, (prompt) => 10 + 50 * prompt).prompt, 9);
  assert.equal(steps(paceOf({ 1: 10 }), 1, () => 10).prompt, 127);
});

Deno.test("a prompt has whole steps where no text is written, or nothing is known", () => {
  assert.equal(paceOf({ 1: 10 }).slots([300, 40], 128), 128);
  assert.equal(paceOf({}).slots([300, 1], 128), 128);
  assert.equal(paceOf({ 1: 10 }).slots([], 128), 128);
});

Deno.test("a text goes on while a long prompt is evaluated", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, batchSize: 128 });
  const { engine } = model;
  using text = engine.createSequence();
  using other = engine.createSequence();
  const append = () => engine.evaluateTop(text, [7], 1, undefined, false);
  for (let i = 0; i < 8; i++) await append();
  let isDone = false, written = 0;
  const prompt = Array.from({ length: 384 }, (_, i) => 7 * i % 4096);
  const done = engine.evaluate(other, prompt).then(() => isDone = true);
  while (!isDone) {
    await append();
    written++;
  }
  await done;
  // In whole steps, it would have had three or four.
  assert(written > 8, `${written} tokens`);
});
