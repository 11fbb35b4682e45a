import assert from "node:assert/strict";
import { PromptPace } from "../../src/engine/prompt_pace.ts";
import type { Line } from "../../src/engine/scheduler.ts";
import { StepCosts } from "../../src/engine/step_costs.ts";
import { load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const promptOf = (tokens: number): Line => ({ tokens, isPrompt: true });
const textOf = (tokens: number): Line => ({ tokens, isPrompt: false });

/** Steps with 300 tokens of a prompt that wait, on a machine: what the last took, and how many tokens of the prompt it had. */
function steps(
  pace: PromptPace,
  next: number,
  stepMs: (prompt: number) => number,
): { prompt: number; ms: number } {
  let prompt = 0, ms = 0;
  for (let i = 0; i < 40; i++) {
    const written = Array.from({ length: next }, () => textOf(1));
    prompt = pace.slots([promptOf(300), ...written], 128) - next;
    ms = stepMs(prompt);
    pace.learn([promptOf(prompt), ...written], ms);
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
  // A text that is as fast as a few tokens of the prompt.
  const few = steps(paceOf({ 1: 10 }), 1, (prompt) => 10 + 3 * prompt);
  assert.deepEqual(few, { prompt: 3, ms: 19 });
});

Deno.test("a prompt has a token in each step, however slow they are, and no more than a step takes", () => {
  const pace = paceOf({ 1: 10 });
  assert.equal(steps(pace, 1, (prompt) => 10 + 50 * prompt).prompt, 1);
  assert.equal(steps(paceOf({ 1: 10 }), 1, () => 10).prompt, 127);
});

Deno.test("a prompt has whole steps where no text is written, or nothing is known", () => {
  const prompts = [promptOf(300), promptOf(40)];
  assert.equal(paceOf({ 1: 10 }).slots(prompts, 128), 128);
  assert.equal(paceOf({}).slots([promptOf(300), textOf(1)], 128), 128);
  assert.equal(paceOf({ 1: 10 }).slots([], 128), 128);
});

Deno.test("where more prompts wait than texts are written, these go on at a third of their pace", () => {
  const pace = paceOf({ 1: 10, 2: 20, 4: 40 });
  pace.learn([textOf(1), promptOf(10)], 20);
  const slots = (texts: number, prompts: number) =>
    pace.slots([
      ...Array.from({ length: texts }, () => textOf(1)),
      ...Array.from({ length: prompts }, () => promptOf(99)),
    ], 1000) - texts;
  assert.deepEqual([slots(1, 1), slots(4, 1), slots(4, 4)], [10, 40, 40]);
  assert.deepEqual([slots(2, 3), slots(1, 2), slots(1, 30)], [30, 20, 20]);
});

Deno.test("what drafts take of a step, prompts have not", () => {
  const pace = paceOf({ 1: 10, 2: 12, 4: 16, 8: 24 });
  pace.learn([textOf(1), promptOf(5)], 15);
  assert.equal(pace.slots([textOf(1), promptOf(99)], 128), 1 + 10);
  assert.equal(pace.slots([textOf(4), promptOf(99)], 128), 4 + 4);
  assert.equal(pace.slots([textOf(8), promptOf(99)], 128), 8 + 1);
});

Deno.test("drafts have whole steps where no prompt waits", () => {
  assert.equal(paceOf({ 1: 10 }).slots([textOf(8), textOf(1)], 128), 128);
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
