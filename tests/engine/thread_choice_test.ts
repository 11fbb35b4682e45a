/** How many threads compute where other work takes cores away. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Engine } from "../../src/engine/engine.ts";
import { ThreadChoice } from "../../src/engine/thread_choice.ts";
import { startTeam } from "../../src/places/start.ts";
import { limits } from "../helpers/teams.ts";
import { randomModel } from "../helpers/random_model.ts";
import { nextRates } from "../helpers/rates.ts";
import { load, type LoadOptions, type ModelSource } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const changeMs = 100, measureMs = 45;

/** Cores, and what a token takes on them. */
interface Machine {
  readonly cores: number;
  /** ms of a token in one thread that has its core */
  readonly tokenMs: number;
  /** Cores that other work is on, at a time in ms */
  busy(ms: number): number;
}

/** What a step takes with `count` threads, and how much of it they sleep. */
function stepOf({ cores, tokenMs, busy }: Machine, count: number, ms: number) {
  const waits = count > 1 && count > cores - busy(ms);
  const own = tokenMs / count;
  return waits
    ? { ms: 20 * own + 20, lostMs: 19 * own + 19 }
    : { ms: own, lostMs: 0 };
}

/** Runs steps for `ms`; gives the number of threads over time. */
async function run(machine: Machine, ms: number) {
  let now = 0, slow = 0, measured = 0;
  const measure = (count: number) => {
    measured++;
    return Promise.resolve(Math.max(1, count - machine.busy(now)));
  };
  const choice = new ThreadChoice(machine.cores, changeMs, measure);
  const changes = [{ ms: 0, count: choice.count }];
  while (now < ms) {
    const step = stepOf(machine, choice.count, now);
    now += step.ms;
    if (step.lostMs > 0) slow += step.ms;
    const before = measured;
    const isChanged = await choice.changesAfter(step, now);
    if (measured > before) now += measureMs;
    if (!isChanged) continue;
    now += changeMs;
    changes.push({ ms: now, count: choice.count });
  }
  return { changes, slow, measured };
}

Deno.test("threads that keep their cores stay, and nothing is measured", async () => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 2, max: 64 }),
    fc.double({ min: 0.05, max: 500, noNaN: true }),
    fc.double({ min: 0, max: 0.15, noNaN: true }),
    async (most, ms, lost) => {
      const choice = new ThreadChoice(most, changeMs, () => {
        throw new Error("measures");
      });
      for (let i = 1; i <= 2000; i++) {
        const step = { ms, lostMs: lost * ms };
        assert.equal(await choice.changesAfter(step, i * ms), false);
      }
    },
  ));
});

Deno.test("a start in which threads wait for code that is not fast yet is not looked into", async () => {
  const choice = new ThreadChoice(2, changeMs, () => {
    throw new Error("measures");
  });
  for (let now = 0; now < 10_000; now++) {
    const step = { ms: 1, lostMs: now < 150 ? 0.5 : 0.1 };
    assert.equal(await choice.changesAfter(step, now), false);
  }
});

Deno.test("threads that wait for busy cores are given up at once", async () => {
  for (const [cores, left] of [[2, 1], [4, 3], [8, 7], [16, 7]]) {
    const machine = { cores, tokenMs: 0.4, busy: () => cores - left };
    const { changes } = await run(machine, 1500);
    assert.deepEqual(changes.map(({ count }) => count), [cores, left]);
    assert.ok(changes[1].ms < 400, `${changes[1].ms} ms`);
  }
});

Deno.test("a core that is taken after a long quiet time is noticed as soon", async () => {
  const taken = 60_000;
  const busy = (ms: number) => ms < taken ? 0 : 1;
  const { changes } = await run({ cores: 2, tokenMs: 0.4, busy }, 62_900);
  assert.deepEqual(changes.map(({ count }) => count), [2, 1]);
  assert.ok(changes[1].ms < taken + 400, `${changes[1].ms} ms`);
});

Deno.test("all threads come back within seconds when the core is free again; looking for it costs 2%", async () => {
  const busy = (ms: number) => ms < 300_000 ? 1 : 0;
  const machine = { cores: 2, tokenMs: 0.4, busy };
  const { changes, slow, measured } = await run(machine, 310_000);
  assert.deepEqual(changes.map(({ count }) => count), [2, 1, 2]);
  assert.ok(changes[2].ms < 305_000, `${changes[2].ms} ms`);
  assert.ok(slow < 200, `${slow} ms with threads that wait`);
  assert.ok(measured * measureMs < 0.02 * 300_000, `${measured} times`);
});

Deno.test("a core that comes and goes is taken back less and less often", async () => {
  const busy = (ms: number) => Math.floor(ms / 3000) % 2;
  const machine = { cores: 2, tokenMs: 0.4, busy };
  const { changes } = await run(machine, 300_000);
  assert.ok(changes.length < 40, `${changes.length} changes`);
});

Deno.test("where cores are uneven, threads wait and all go on", async () => {
  let measured = 0;
  const choice = new ThreadChoice(8, changeMs, (count) => {
    measured++;
    return Promise.resolve(count);
  });
  for (let now = 0; now < 200_000; now++) {
    const step = { ms: 1, lostMs: 0.4 };
    assert.equal(await choice.changesAfter(step, now), false);
  }
  assert.ok(measured > 1 && measured < 10, `${measured} times`);
});

/** A choice that takes another number of threads every third step. */
class Restless extends ThreadChoice {
  changes = 0;
  #steps = 0;

  override changesAfter(): Promise<boolean> {
    if (++this.#steps % 3 !== 0) return Promise.resolve(false);
    this.count = this.count % 3 + 1;
    this.changes++;
    return Promise.resolve(true);
  }
}

Deno.test("a text is the same to the last bit when threads come and go", async () => {
  const { model, source } = await randomModel({ type: "Q8_0", seed: 4 });
  const start = (threads: number) =>
    startTeam(source, threads, {
      model,
      sparsity: { mode: "exact" },
      cacheType: "f32",
      measureRecall: false,
      rates: nextRates(),
      limits,
    });
  const run = async (threads?: ThreadChoice) => {
    const restart = threads && (() => start(threads.count));
    const team = await start(threads?.count ?? 2);
    const options = { restart, threads };
    await using engine = new Engine(team, model.vocabSize, options);
    using a = engine.createSequence(), b = engine.createSequence();
    const rows: Float32Array[] = [];
    await engine.evaluate(a, Array.from({ length: 40 }, (_, i) => i % 9));
    for (let i = 0; i < 12; i++) {
      const both = [engine.evaluate(a, [i], "last")];
      if (i % 2 === 0) both.push(engine.evaluate(b, [i, i + 1], "last"));
      rows.push(...(await Promise.all(both)).flat());
    }
    return rows;
  };
  const restless = new Restless(2, changeMs);
  assert.deepEqual(await run(restless), await run());
  assert.ok(restless.changes >= 4);
});

for (const cacheType of ["f32", "f16", "q8_0"] as const) {
  Deno.test(`texts of the past in ${cacheType} are known when threads have changed`, async () => {
    const { model, source } = await randomModel({ type: "Q8_0", seed: 4 });
    const start = (threads: number) =>
      startTeam(source, threads, {
        model,
        sparsity: { mode: "exact" },
        cacheType,
        measureRecall: false,
        rates: nextRates(),
        limits,
      });
    const ids = Array.from({ length: 50 }, (_, i) => i % 9);
    const run = async (threads?: ThreadChoice) => {
      const restart = threads && (() => start(threads.count));
      const team = await start(2);
      const options = { restart, threads, keepsPast: true };
      await using engine = new Engine(team, model.vocabSize, options);
      (await engine.startSequence(ids)).drop();
      using other = engine.createSequence();
      for (let i = 0; i < 6; i++) await engine.evaluate(other, [i]);
      using again = await engine.startSequence(ids);
      assert.equal(engine.cachedTokens, ids.length);
      assert.equal(engine.stats().tokens, ids.length + 6);
      return await Promise.all(
        [again, other].map((sequence) => engine.evaluate(sequence, [7])),
      );
    };
    const restless = new Restless(2, changeMs);
    assert.deepEqual(await run(restless), await run());
    assert.ok(restless.changes >= 2);
  });
}

Deno.test({
  name:
    "threads are chosen where their number is not given, and reading again is free",
  ignore: navigator.hardwareConcurrency < 2,
  async fn() {
    const { changesAfter } = ThreadChoice.prototype;
    let steps = 0;
    ThreadChoice.prototype.changesAfter = () => {
      steps++;
      return Promise.resolve(false);
    };
    const chosen = async (source: ModelSource, options?: LoadOptions) => {
      steps = 0;
      await using model = await load(source, options);
      await model.complete("Tom", { maxTokens: 3 });
      return steps > 0;
    };
    try {
      const remote = { ...tinyBamboo(), isRemote: true };
      assert.equal(await chosen(tinyBamboo()), true);
      assert.equal(await chosen(tinyBamboo(), { threads: 2 }), false);
      assert.equal(await chosen(remote), false);
    } finally {
      ThreadChoice.prototype.changesAfter = changesAfter;
    }
  },
});
