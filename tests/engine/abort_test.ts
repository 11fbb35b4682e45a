/** A request that is aborted leaves its sequence as it was, and its slots to others. */
import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

Deno.test("aborted in a prompt, a request frees its slots at the next step", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, batchSize: 16 });
  const { engine } = model;
  using a = engine.createSequence();
  using b = engine.createSequence();
  const past = Array.from({ length: 40 }, (_, i) => i);
  await engine.evaluate(a, past);
  const pages = engine.pagesTaken;
  const controller = new AbortController();
  const { signal } = controller;
  const prompt = engine.evaluate(a, Array(300).fill(3), "last", signal);
  const behind = engine.evaluate(a, [5]);
  prompt.catch(() => {});
  behind.catch(() => {});
  await engine.evaluate(b, [1]);
  await engine.evaluate(b, [2]);
  assert(a.length > 40, "steps have run");
  controller.abort(new Error("enough"));
  const before = engine.stats().tokens;
  await engine.evaluate(b, [3]);
  assert.equal(engine.stats().tokens - before, 1, "a step of b alone");
  await assert.rejects(prompt, /enough/);
  await assert.rejects(behind, /enough/, "its past never came");
  assert.equal(a.length, 40);
  b.drop();
  assert.equal(engine.pagesTaken, pages);
  const [logits] = await engine.evaluate(a, [7]);
  using fresh = engine.createSequence();
  assert.deepEqual(logits, (await engine.evaluate(fresh, [...past, 7]))[0]);
});

Deno.test("aborted texts cost nothing but what was evaluated, 200 times", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, batchSize: 16 });
  const { engine } = model;
  const run = async (signal?: AbortSignal) => {
    let text = "";
    const options = { temperature: 0, maxTokens: 6, signal };
    const prompt = "Once there was a boy who had a big red ball and a dog.";
    for await (const piece of model.generate(prompt, options)) {
      text += piece.text;
    }
    return text;
  };
  const expected = await run();
  for (let i = 0; i < 200; i++) {
    const controller = new AbortController();
    const text = run(controller.signal);
    for (let turns = i % 40; turns > 0; turns--) await undefined;
    if (i % 3 === 0) await delay(i % 5);
    controller.abort();
    assert(expected.startsWith(await text));
    if (i % 20 === 0) assert.equal(await run(), expected);
  }
  assert.equal(engine.pagesTaken, 0);
});

Deno.test("a timer aborts a text whose steps are shorter than a slice of time", async () => {
  await using model = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 20_000,
  });
  const reasons: string[] = [];
  const pieces = model.generate("Once", {
    signal: AbortSignal.timeout(50),
    ignoreEos: true,
    maxTokens: 3000,
    onFinish: ({ finishReason }) => reasons.push(finishReason),
  });
  for await (const _ of pieces);
  assert.deepEqual(reasons, ["aborted"]);
});
