/** A text that begins as one of the past did goes on with its keys and values, to the last bit. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { load } from "../../mod.ts";
import { Engine } from "../../src/engine/engine.ts";
import { PagePool } from "../../src/engine/page_pool.ts";
import type { Sequence } from "../../src/engine/sequence.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { randomModel } from "../helpers/random_model.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { cpuTeam } from "../helpers/teams.ts";

const made = await randomModel({ type: "Q4_0", layerCount: 2, seed: 6 });
const { model } = made;
const sparsity = { mode: "top-k", share: 0.5 } as const;

async function makeEngine(keepsPast: boolean, mostPages?: number) {
  const team = await cpuTeam(made, splitEvenly(model, 2), sparsity);
  return new Engine(team, model.vocabSize, { keepsPast, mostPages });
}

Deno.test("a prefix is found by its tokens, to the token, and by nothing else", () => {
  const pool = new PagePool(true);
  pool.grow(10);
  for (let page = 0; page < 10; page++) assert.equal(pool.take(), page);
  const ids = Array.from({ length: 70 }, (_, i) => i);
  const remember = (
    page: number,
    start: number,
    end: number,
    before?: number,
  ) => {
    pool.tokensOf(page).set(ids.slice(start, end));
    return pool.remember(page, end - start, before);
  };
  assert.equal(remember(4, 0, 32), 4);
  assert.equal(remember(5, 32, 64, 4), 5);
  assert.equal(remember(6, 64, 67, 5), 6);
  assert.equal(remember(7, 32, 64, 4), 5, "known by another page");
  assert.equal(remember(8, 0, 5, 6), 8, "nothing follows a part");
  assert.deepEqual(pool.find(ids), { pages: [4, 5, 6], length: 67 });
  assert.deepEqual(pool.find(ids.slice(0, 40)), { pages: [4, 5], length: 40 });
  const other = ids.with(35, 99);
  assert.deepEqual(pool.find(other), { pages: [4, 5], length: 35 });
  assert.deepEqual(pool.find(ids, 0.5), { pages: [], length: 0 });
  assert.deepEqual(pool.find(ids.with(0, 0.5)), { pages: [], length: 0 });
  assert.deepEqual(pool.find([]), { pages: [], length: 0 });
  assert.equal(pool.free, 1, "the page whose tokens another is known by");
  pool.release(5);
  for (const page of [6, 5, 4]) pool.release(page);
  assert.deepEqual([pool.free, pool.available], [1, 4]);
  pool.release(9);
  assert.equal(pool.free, 2, "known by nothing, and so free");
  pool.retain(5);
  pool.release(5);
  const free = [pool.take(), pool.take()];
  assert.deepEqual(free, [9, 7]);
  assert.deepEqual([pool.take(), pool.take()], [6, 4], "unused for longest");
});

Deno.test("sequences that take the past over give the same bits, whatever is kept", async () => {
  const random = seededRandom(3);
  const below = (n: number) => Math.floor(random() * n);
  await using plain = await makeEngine(false);
  // So few pages that pasts are given up all the time.
  await using caching = await makeEngine(true, 14);
  const texts: { ids: number[]; keep?: number }[] = [];
  let evaluated = 0;
  for (let round = 0; round < 80; round++) {
    const asked = Array.from({ length: 1 + below(3) }, () => {
      const past = texts[below(texts.length)];
      const keep = random() < 0.5 ? undefined : [0.2, 0.8][below(2)];
      const common = past?.ids.slice(0, below(past.ids.length + 1)) ?? [];
      const more = Array.from(
        { length: 1 + below(90 - common.length) },
        () => below(model.vocabSize),
      );
      const text = { ids: [...common, ...more].slice(0, 90), keep };
      if (text.ids.length > 1) texts.push(text);
      return text;
    });
    const run = async (engine: Engine, { ids, keep }: typeof asked[number]) => {
      using sequence = engine.createSequence({ keep });
      const cut = below(ids.length);
      sequence.resume(ids.slice(0, -1));
      const rest = ids.slice(sequence.length);
      const middle = Math.min(cut, rest.length - 1);
      if (middle > 0) await engine.evaluate(sequence, rest.slice(0, middle));
      return (await engine.evaluate(sequence, rest.slice(middle), "last"))[0];
    };
    const expected = await Promise.all(asked.map((text) => run(plain, text)));
    const actual = await Promise.all(asked.map((text) => run(caching, text)));
    assert.deepEqual(actual, expected);
    evaluated += asked.reduce((sum, { ids }) => sum + ids.length, 0);
  }
  assert(caching.cachedTokens > evaluated / 10, `${caching.cachedTokens}`);
  assert.equal(plain.cachedTokens, 0);
  assert.equal(plain.stats().tokens, evaluated);
  assert.equal(caching.stats().tokens, evaluated - caching.cachedTokens);
  assert.equal(caching.pagesTaken, 0);
});

Deno.test("whatever is forked, cut and dropped, a past that is taken over is what it was", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const random = seededRandom(seed);
      const below = (n: number) => Math.floor(random() * n);
      await using plain = await makeEngine(false);
      await using caching = await makeEngine(true, 20);
      const pairs: [Sequence, Sequence][] = [];
      /** Few ids, so that texts begin alike. */
      const idsOf = (count: number) =>
        Array.from({ length: count }, () => below(2));
      for (let i = 0; i < 25; i++) {
        const pair = pairs[below(pairs.length)];
        const kind = below(5);
        if (!pair || (kind === 0 && pairs.length < 4)) {
          pairs.push([plain.createSequence(), caching.createSequence()]);
        } else if (kind === 1 && pairs.length < 4) {
          pairs.push([pair[0].fork(), pair[1].fork()]);
        } else if (kind === 2) {
          const length = below(pair[0].length + 1);
          for (const sequence of pair) sequence.truncate(length);
        } else if (kind === 3) {
          for (const sequence of pair) sequence.drop();
          pairs.splice(pairs.indexOf(pair), 1);
        } else {
          const count = Math.min(1 + below(70), 96 - pair[0].length);
          if (count === 0) continue;
          const ids = idsOf(count);
          const [a] = await plain.evaluate(pair[0], ids);
          const held = Array.from(
            { length: pair[1].length },
            (_, at) => pair[1].tokenAt(at),
          );
          // Begun anew from what is known, at times.
          if (random() < 0.5) pair[1].resume([...held, ...ids.slice(0, -1)]);
          const rest = [...held, ...ids].slice(pair[1].length);
          const [b] = await caching.evaluate(pair[1], rest);
          assert.deepEqual(b, a);
        }
      }
      for (const sequence of pairs.flat()) sequence.drop();
      assert.equal(caching.pagesTaken, 0);
    }),
    { numRuns: 30 },
  );
});

Deno.test("prompts that begin alike are evaluated once, whoever asks, unless they say no", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const run = async (prompt: string, options = {}) => {
    let text = "", cached = 0;
    const stream = model.generate(prompt, {
      temperature: 0,
      maxTokens: 12,
      onFinish: ({ cachedTokens }) => cached = cachedTokens,
      ...options,
    });
    for await (const piece of stream) text += piece.text;
    return { text, cached };
  };
  const system = "Once there was a girl named Lily. She had a big red ball. ";
  const shared = model.tokenize(system).length - 1;
  const first = await run(system + "One day");
  assert.equal(first.cached, 0);
  const second = await run(system + "Her mom");
  assert(second.cached >= shared - 1, `${second.cached} of ${shared}`);
  // The next turn of a chat goes on behind the last.
  const turn = await run(system + "Her mom" + second.text + " Then");
  assert(turn.cached > second.cached + 10);
  const again = await run(system + "Her mom", { cachePrompt: false });
  assert.deepEqual(again, { text: second.text, cached: 0 });
  assert.equal(model.engine.pagesTaken, 0);
  await using off = await load(tinyBamboo(), {
    threads: 0,
    prefixCache: false,
  });
  for (let i = 0; i < 2; i++) {
    for await (const _ of off.generate(system, { maxTokens: 2 }));
  }
  assert.equal(off.engine.cachedTokens, 0);
});

Deno.test("past texts take no more memory than a full one", async () => {
  await using model = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 128,
  });
  for (let i = 0; i < 30; i++) {
    for await (
      const _ of model.generate([i, ...Array(60).fill(7)], { maxTokens: 2 })
    );
  }
  // In chunks that double.
  assert(model.engine.pagesHeld <= 4, `${model.engine.pagesHeld} pages`);
});
