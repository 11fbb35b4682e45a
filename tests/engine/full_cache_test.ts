/** A cache that is full refuses a request, or lets it wait; it fails no step, and no place. */
import assert from "node:assert/strict";
import { LimitError, load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/** Room for 4 pages. */
const tiny = (threads = 0) =>
  load(tinyBamboo(), { threads, cacheSize: 128, batchSize: 16 });

for (const [threads, times] of [[0, 1000], [2, 200]]) {
  Deno.test(`a full cache refuses one request and serves the next, ${times} times, ${threads} threads`, async () => {
    await using model = await tiny(threads);
    const { engine } = model;
    using held = engine.createSequence();
    const past = Array.from({ length: 70 }, (_, i) => i);
    await engine.evaluate(held, past);
    let expected: Float32Array | undefined;
    for (let i = 0; i < times; i++) {
      using refused = engine.createSequence();
      const reason = await engine.evaluate(refused, Array(40).fill(5))
        .then(() => undefined, (error) => error);
      assert(reason instanceof LimitError);
      assert.match(reason.message, /40 tokens: needs 2 more pages .* 1 of 4/);
      assert.equal(refused.length, 0);
      using served = engine.createSequence();
      const [logits] = await engine.evaluate(served, [5, 6, 7]);
      assert.deepEqual(logits, expected ??= logits);
    }
    assert.equal(engine.pagesTaken, 3);
    // What it held all along is as it was.
    const [next] = await engine.evaluate(held, [9]);
    await using other = await load(tinyBamboo(), { threads });
    using alone = other.engine.createSequence();
    assert.deepEqual(
      next,
      (await other.engine.evaluate(alone, [...past, 9]))[0],
    );
  });
}

Deno.test("what needs more pages than there can be is refused at once", async () => {
  await using model = await tiny();
  using sequence = model.engine.createSequence();
  await assert.rejects(
    model.engine.evaluate(sequence, Array(129).fill(1)),
    (error: Error) =>
      error instanceof LimitError &&
      /need 5 pages .* limit is 4/.test(error.message),
  );
  assert.equal(
    (await model.engine.evaluate(sequence, Array(128).fill(1))).length,
    1,
  );
});

Deno.test("a request without pages waits for those that run, and then is served", async () => {
  await using model = await tiny();
  const { engine } = model;
  const text = async (ids: number[], more: number) => {
    using sequence = engine.createSequence();
    let [logits] = await engine.evaluate(sequence, ids);
    for (let i = 0; i < more; i++) {
      [logits] = await engine.evaluate(sequence, [i]);
    }
    return logits;
  };
  const prompts = [0, 1, 2, 3].map((s) =>
    Array.from({ length: 60 + s }, (_, i) => (i * 31 + s) % 4096)
  );
  // Two have room at a time.
  const together = await Promise.all(prompts.map((ids) => text(ids, 2)));
  for (const [i, ids] of prompts.entries()) {
    assert.deepEqual(together[i], await text(ids, 2));
  }
  assert.equal(engine.pagesTaken, 0);
});

Deno.test("prompts that together need more than there is do not stop each other half way", async () => {
  await using model = await tiny();
  const { engine } = model;
  const sequences = Array.from({ length: 3 }, () => engine.createSequence());
  // Each needs 3 pages of 4, and nobody drops.
  const given = await Promise.allSettled(
    sequences.map((sequence) => engine.evaluate(sequence, Array(80).fill(3))),
  );
  assert.deepEqual(
    given.map(({ status }) => status),
    ["fulfilled", "rejected", "rejected"],
  );
  assert.deepEqual(sequences.map(({ length }) => length), [80, 0, 0]);
});

Deno.test("memory that the system refuses is a full cache, not the end", async () => {
  const grow = WebAssembly.Memory.prototype.grow;
  await using model = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 4096,
  });
  const { engine } = model;
  using first = engine.createSequence();
  await engine.evaluate(first, [1, 2, 3]);
  try {
    WebAssembly.Memory.prototype.grow = () => {
      throw new RangeError("refused");
    };
    using refused = engine.createSequence();
    await assert.rejects(
      engine.evaluate(refused, Array(4000).fill(3)),
      LimitError,
    );
    assert.equal((await engine.evaluate(first, [4])).length, 1);
  } finally {
    WebAssembly.Memory.prototype.grow = grow;
  }
  using later = engine.createSequence();
  assert.equal((await engine.evaluate(later, Array(200).fill(3))).length, 1);
});

for (const way of ["aborted", "dropped"] as const) {
  Deno.test(`a request that is ${way} while it waits for pages leaves the engine as it was`, async () => {
    for (const turns of [0, 8, 30, Infinity]) {
      await using model = await tiny();
      const { engine } = model;
      using held = engine.createSequence();
      await engine.evaluate(held, Array(128).fill(5));
      const waiting = engine.createSequence();
      const controller = new AbortController();
      const refused = assert.rejects(
        engine.evaluate(waiting, [1, 2, 3], "last", controller.signal),
      );
      const goAway = () =>
        way === "aborted" ? controller.abort() : waiting.drop();
      if (turns === Infinity) setTimeout(goAway, 0);
      else {
        for (let i = 0; i < turns; i++) await undefined;
        goAway();
      }
      await refused;
      held.truncate(0);
      assert.equal((await engine.evaluate(held, [5, 6])).length, 1);
    }
  });
}

Deno.test("a text that is refused gives its pages to those that wait", async () => {
  await using model = await tiny();
  const generated = async (step: number) => {
    const prompt = Array.from({ length: 60 }, (_, i) => 5 + i * step);
    const options = { maxTokens: 40, temperature: 0, ignoreEos: true };
    let count = 0;
    try {
      for await (const _ of model.generate(prompt, options)) count++;
    } catch (error) {
      assert(error instanceof LimitError);
    }
    return count;
  };
  for (const texts of [[1, 2], [1, 2, 3]]) {
    const counts = await Promise.all(texts.map(generated));
    assert.equal(Math.max(...counts), 40, `${counts}`);
  }
  assert.equal(model.engine.pagesTaken, 0);
});
