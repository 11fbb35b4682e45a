/** What one caller does wrong is that caller's error, and nobody else's. */
import assert from "node:assert/strict";
import { load, UsageError } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const tiny = () => load(tinyBamboo(), { threads: 0, batchSize: 16 });

Deno.test("a sequence dropped while its request waits fails that request alone", async () => {
  await using model = await tiny();
  const { engine } = model;
  for (const length of [1, 40]) {
    using b = engine.createSequence();
    const a = engine.createSequence();
    const good = engine.evaluate(b, Array(length).fill(3));
    const bad = engine.evaluate(a, Array(length).fill(4));
    a.drop();
    await assert.rejects(
      bad,
      (error: Error) =>
        error instanceof UsageError && /dropped/.test(error.message),
    );
    assert.equal((await good).length, 1);
    assert.equal(b.length, length);
    await assert.rejects(engine.evaluate(a, [1]), UsageError);
  }
});

Deno.test("a sequence dropped in the middle of a prompt fails that request alone", async () => {
  // Timers fire while a worker computes.
  await using model = await load(tinyBamboo(), { threads: 1, batchSize: 16 });
  const { engine } = model;
  const a = engine.createSequence();
  const bad = engine.evaluate(a, Array(200).fill(4));
  setTimeout(() => a.drop(), 0);
  await assert.rejects(bad, UsageError);
  assert.equal(engine.pagesTaken, 0);
});

Deno.test("what becomes of a caller's array after the call does not matter", async () => {
  await using model = await tiny();
  const { engine } = model;
  const ids = Array.from({ length: 40 }, (_, i) => 11 * i);
  const changes: ((array: number[]) => void)[] = [
    (array) => array.length = 0,
    (array) => array.push(...Array(600).fill(7)),
    (array) => array.fill(9),
    (array) => array.fill(-1),
  ];
  using whole = engine.createSequence();
  const expected = await engine.evaluate(whole, ids);
  for (const change of changes) {
    const array = [...ids];
    using sequence = engine.createSequence();
    const logits = engine.evaluate(sequence, array);
    change(array);
    assert.deepEqual(await logits, expected);
    assert.equal(sequence.length, 40);
  }
});

Deno.test("another model's sequence is refused, and so is cutting one while tokens wait", async () => {
  await using model = await tiny();
  await using other = await tiny();
  using theirs = other.engine.createSequence();
  await assert.rejects(
    model.engine.evaluate(theirs, [1]),
    (error: Error) =>
      error instanceof UsageError && /another model/.test(error.message),
  );
  using ours = model.engine.createSequence();
  await model.engine.evaluate(ours, [1, 2, 3]);
  const waiting = model.engine.evaluate(ours, [4]);
  assert.throws(() => ours.truncate(1), UsageError);
  await waiting;
  ours.truncate(1);
});

Deno.test("two texts in one session, or one in another model's, are refused", async () => {
  await using model = await tiny();
  await using other = await tiny();
  using session = model.createSession();
  const options = { session, maxTokens: 8, temperature: 0 };
  const run = async (prompt: string, from = model) => {
    let text = "";
    for await (const piece of from.generate(prompt, options)) {
      text += piece.text;
    }
    return text;
  };
  const prompts = ["Lily went to the park", "Tom had a ball"];
  const [first, second] = await Promise.allSettled(prompts.map((p) => run(p)));
  assert(first.status === "fulfilled" && second.status === "rejected");
  assert(second.reason instanceof UsageError);
  assert.match(second.reason.message, /another text/);
  await assert.rejects(run("Tom", other), UsageError);
  assert.equal(await run(prompts[0]), first.value);
  session[Symbol.dispose]();
  await assert.rejects(run("Tom"), UsageError);
});

Deno.test("a prompt of 150,000 tokens is refused by the context, not by the stack", async () => {
  await using model = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 200_000,
  });
  const ids = new Array(150_000).fill(5);
  const controller = new AbortController();
  let finish = "";
  const { signal } = controller;
  setTimeout(() => controller.abort(), 50);
  const onFinish = (summary: { finishReason: string }) =>
    finish = summary.finishReason;
  for await (const _ of model.generate(ids, { signal, onFinish }));
  assert.equal(finish, "aborted");
  await using small = await tiny();
  await assert.rejects(
    Array.fromAsync(small.generate(ids)),
    /the prompt has 150000 tokens, the context/,
  );
});
