import assert from "node:assert/strict";
import fc from "fast-check";
import { shareSlots } from "../../src/engine/scheduler.ts";
import { load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const slots = fc.integer({ min: 1, max: 40 });
const line = fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 200 }));

Deno.test("a step is filled, and takes nothing that does not wait", () => {
  fc.assert(fc.property(fc.array(line), slots, (waiting, slots) => {
    const shares = shareSlots(waiting, slots);
    const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
    assert.equal(sum(shares), Math.min(slots, sum(waiting)));
    shares.forEach((share, i) => assert(share >= 0 && share <= waiting[i]));
  }));
});

Deno.test("single tokens go first, and prompts share what is left evenly", () => {
  assert.deepEqual(shareSlots([320, 1], 16), [15, 1]);
  assert.deepEqual(shareSlots([320, 1, 5, 300], 16), [5, 1, 5, 5]);
  assert.deepEqual(shareSlots([320, 2, 300], 16), [7, 2, 7]);
  assert.deepEqual(shareSlots([320, 300, 1, 1, 1], 4), [1, 0, 1, 1, 1]);
  assert.deepEqual(shareSlots([1, 1, 1], 2), [1, 1, 0]);
  assert.deepEqual(shareSlots([], 8), []);
  fc.assert(fc.property(fc.array(line), slots, (waiting, slots) => {
    const shares = shareSlots(waiting, slots);
    // No prompt has two more than one that goes short.
    shares.forEach((share, i) => {
      if (share === waiting[i] || waiting[i] === 1) return;
      assert(shares.every((other) => other <= share + 1));
    });
    const unserved = waiting.some((count, i) => count === 1 && !shares[i]);
    const prompts = shares.filter((_, i) => waiting[i] > 1);
    // Where a single token has to wait, no prompt but the first in line has any.
    if (unserved) assert(prompts.every((share, i) => i === 0 || share === 0));
  }));
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
          const shares = shareSlots(queue.map(({ left }) => left), slots);
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
