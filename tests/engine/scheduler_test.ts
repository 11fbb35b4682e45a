import assert from "node:assert/strict";
import fc from "fast-check";
import { isPrompt, type Line, shareSlots } from "../../src/engine/scheduler.ts";
import { type Engine, load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const promptOf = (tokens: number): Line => ({ tokens, isPrompt: true });
const textOf = (tokens: number): Line => ({ tokens, isPrompt: false });

const slots = fc.integer({ min: 1, max: 40 });
const line = fc.oneof(
  fc.integer({ min: 1, max: 8 }).map(textOf),
  fc.integer({ min: 1, max: 200 }).map(promptOf),
);

Deno.test("a step is filled, and takes nothing that does not wait", () => {
  fc.assert(fc.property(fc.array(line), slots, (waiting, slots) => {
    const shares = shareSlots(waiting, slots);
    const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
    const counts = waiting.map(({ tokens }) => tokens);
    assert.equal(sum(shares), Math.min(slots, sum(counts)));
    shares.forEach((share, i) => assert(share >= 0 && share <= counts[i]));
  }));
});

Deno.test("texts go first, with their drafts, and prompts share what is left evenly", () => {
  const one = textOf(1), draft = textOf(8), long = promptOf(300);
  assert.deepEqual(shareSlots([long, one], 16), [15, 1]);
  assert.deepEqual(shareSlots([long, one, promptOf(5), long], 16), [
    5,
    1,
    5,
    5,
  ]);
  assert.deepEqual(shareSlots([long, draft, promptOf(3)], 16), [5, 8, 3]);
  assert.deepEqual(shareSlots([long, draft, one], 10), [1, 8, 1]);
  assert.deepEqual(shareSlots([long, long, one, one, one], 4), [1, 0, 1, 1, 1]);
  assert.deepEqual(shareSlots([one, one, one], 2), [1, 1, 0]);
  assert.deepEqual(shareSlots([], 8), []);
  fc.assert(fc.property(fc.array(line), slots, (waiting, slots) => {
    const shares = shareSlots(waiting, slots);
    // No prompt has two more than one that goes short.
    shares.forEach((share, i) => {
      const { tokens, isPrompt } = waiting[i];
      if (share === tokens || !isPrompt) return;
      const prompts = shares.filter((_, j) => waiting[j].isPrompt);
      assert(prompts.every((other) => other <= share + 1));
    });
    const isShort = waiting.some((line, i) =>
      !line.isPrompt && shares[i] < line.tokens
    );
    // Where a text has to wait, no prompt has any but the first in line.
    const prompts = shares.filter((_, i) => i > 0 && waiting[i].isPrompt);
    if (isShort) assert(prompts.every((share) => share === 0));
  }));
});

Deno.test("what is left of a prompt is a prompt's, however little", () => {
  const request = (length: number) => ({ tokens: Array<number>(length) });
  assert.equal(isPrompt([request(300)], 2), true);
  assert.equal(isPrompt([request(1), request(300)], 1), true);
  assert.equal(isPrompt([request(8)], 8), false);
  assert.equal(isPrompt(Array.from({ length: 9 }, () => request(1)), 9), true);
});

Deno.test("nobody starves, however many decode", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 2, max: 50 }), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 0, max: 40 }),
      slots,
      (prompts, decoders, slots) => {
        /** In the order in which the engine serves them. */
        let queue = [
          ...Array.from(
            { length: decoders },
            () => ({ left: 1, decodes: true }),
          ),
          ...prompts.map((left) => ({ left, decodes: false })),
        ];
        const most = (decoders + prompts.length) *
          prompts.reduce((a, b) => a + b, 1);
        let steps = 0;
        while (queue.some(({ decodes }) => !decodes)) {
          assert(++steps <= most, "a prompt starves");
          const shares = shareSlots(
            queue.map(({ left, decodes }) => ({
              tokens: left,
              isPrompt: !decodes,
            })),
            slots,
          );
          const served = queue.filter((_, i) => shares[i] > 0);
          const others = queue.filter((_, i) => shares[i] === 0);
          queue.forEach((each, i) => each.left -= shares[i]);
          // Who decodes comes back with the next token.
          for (const each of served) if (each.decodes) each.left = 1;
          queue = [...others, ...served.filter(({ left }) => left > 0)];
        }
      },
    ),
  );
});

Deno.test("a token behind a long prompt is there within two steps", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, batchSize: 16 });
  const { engine } = model;
  using a = engine.createSequence();
  using b = engine.createSequence();
  await engine.evaluate(b, [1, 2, 3]);
  const before = engine.stats().tokens;
  const prompt = engine.evaluate(a, Array.from({ length: 320 }, (_, i) => i));
  for (let token = 0; token < 4; token++) {
    await engine.evaluate(b, [5]);
    const steps = (engine.stats().tokens - before) / 16;
    assert(steps <= token + 2, `token ${token} took ${steps} steps`);
  }
  assert(a.length < 100, "the prompt is not done");
  await prompt;
  assert.equal(a.length, 320);
});

/** Tokens of each step, from now on. */
function stepsOf(engine: Engine): number[] {
  const steps: number[] = [];
  const { stepCosts } = engine;
  const add = stepCosts.add.bind(stepCosts);
  stepCosts.add = (tokens, ms, sequences) => {
    steps.push(tokens);
    add(tokens, ms, sequences);
  };
  return steps;
}

Deno.test("behind a prompt of 4,000 tokens a short one is done within two steps of its own", async () => {
  const batchSize = 32;
  await using model = await load(tinyBamboo(), {
    threads: 0,
    batchSize,
    contextSize: 4096,
  });
  const { engine } = model;
  const steps = stepsOf(engine);
  const ids = (length: number) =>
    Array.from({ length }, (_, i) => 7 * i % 4096);
  using long = engine.createSequence();
  const stop = new AbortController();
  const behind = engine.evaluate(long, ids(4000), "last", stop.signal);
  behind.catch(() => {});
  while (steps.length < 3) await engine.nextStep();
  for (const length of [9, 14, 60]) {
    using short = engine.createSequence();
    const before = steps.length;
    await engine.evaluateTop(short, ids(length), 1);
    const own = Math.ceil(length / (batchSize / 2));
    const taken = steps.length - before;
    assert(taken <= own + 2, `${length} tokens took ${taken} steps`);
  }
  assert(long.length < 1000, `the long prompt is at ${long.length}`);
  stop.abort();
  await assert.rejects(behind);
});

Deno.test("a draft is not cut by a prompt that came before", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, batchSize: 16 });
  const { engine } = model;
  using text = engine.createSequence();
  using other = engine.createSequence();
  await engine.evaluate(text, [1]);
  const steps = stepsOf(engine);
  const prompt = engine.evaluate(other, Array<number>(200).fill(9));
  await engine.nextStep();
  for (let i = 0; i < 3; i++) {
    const before = steps.length;
    await engine.evaluate(text, [1, 2, 3, 4, 5, 6, 7, 8], "all");
    // The step that was running, and its own.
    assert(steps.length - before <= 2, `${steps.length - before} steps`);
  }
  await prompt;
});

Deno.test("requests on one sequence run in their order, in whatever cuts", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, batchSize: 16 });
  const { engine } = model;
  const ids = Array.from({ length: 60 }, (_, i) => 7 * i % 4096);
  using whole = engine.createSequence();
  const expected = await engine.evaluate(whole, ids, "all");
  using other = engine.createSequence();
  using cut = engine.createSequence();
  const parts = [[0, 1], [1, 2], [2, 40], [40, 41], [41, 60]];
  const [, ...rows] = await Promise.all([
    engine.evaluate(other, Array(200).fill(9)),
    ...parts.map(([start, end]) =>
      engine.evaluate(cut, ids.slice(start, end), "all")
    ),
  ]);
  assert.deepEqual(rows.flat(), expected);
});
