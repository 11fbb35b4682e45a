/** How many threads compute where other work takes cores away. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Engine } from "../../src/engine/engine.ts";
import { ThreadChoice } from "../../src/engine/thread_choice.ts";
import { startTeam } from "../../src/places/start.ts";
import { limits } from "../helpers/teams.ts";
import { randomModel } from "../helpers/random_model.ts";
import { load, type LoadOptions, type ModelSource } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const changeMs = 100;

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
    ? { ms: 20 * own + 20, lostMs: 19 * own + 19, tokens: 1 }
    : { ms: own, lostMs: 0, tokens: 1 };
}

/** Runs steps for `ms`; gives the number of threads over time. */
function run(machine: Machine, ms: number) {
  const choice = new ThreadChoice(machine.cores, changeMs, 0);
  const changes = [{ ms: 0, count: choice.count }];
  let now = 0, slow = 0;
  while (now < ms) {
    const step = stepOf(machine, choice.count, now);
    now += step.ms;
    if (step.lostMs > 0) slow += step.ms;
    if (!choice.changesAfter(step, now)) continue;
    now += changeMs;
    changes.push({ ms: now, count: choice.count });
  }
  return { changes, slow };
}

Deno.test("threads that keep their cores stay", () => {
  fc.assert(fc.property(
    fc.integer({ min: 2, max: 64 }),
    fc.double({ min: 0.05, max: 500, noNaN: true }),
    fc.double({ min: 0, max: 0.15, noNaN: true }),
    (most, ms, lost) => {
      const choice = new ThreadChoice(most, changeMs, 0);
      for (let i = 1; i <= 2000; i++) {
        const step = { ms, lostMs: lost * ms, tokens: 1 };
        assert.equal(choice.changesAfter(step, i * ms), false);
      }
    },
  ));
});

Deno.test("threads that wait for a busy core are given up within half a second", () => {
  for (const [cores, left] of [[2, 1], [4, 3], [8, 7]]) {
    const machine = { cores, tokenMs: 0.4, busy: () => 1 };
    const { changes } = run(machine, 1500);
    assert.deepEqual(changes.map(({ count }) => count), [cores, left]);
    assert.ok(changes[1].ms < 500, `${changes[1].ms} ms`);
  }
});

Deno.test("a core that is taken after a long quiet time is noticed as soon", () => {
  const taken = 60_000;
  const busy = (ms: number) => ms < taken ? 0 : 1;
  const { changes } = run({ cores: 2, tokenMs: 0.4, busy }, taken + 3000);
  assert.deepEqual(changes.map(({ count }) => count), [2, 1]);
  assert.ok(changes[1].ms < taken + 500, `${changes[1].ms} ms`);
});

Deno.test("several busy cores cost few changes", () => {
  const { changes } = run({ cores: 16, tokenMs: 4, busy: () => 9 }, 1900);
  assert.deepEqual(changes.map(({ count }) => count), [16, 15, 13, 9, 1]);
});

Deno.test("all threads come back when the core is free again, and what is tried in vain grows rare", () => {
  const machine = {
    cores: 2,
    tokenMs: 0.4,
    busy: (ms: number) => ms < 300_000 ? 1 : 0,
  };
  const { changes, slow } = run(machine, 400_000);
  assert.equal(changes.at(-1)!.count, 2);
  assert.ok(changes.at(-1)!.ms < 370_000);
  const tries = changes.filter(({ count }) => count === 2).length;
  assert.ok(tries < 14, `${tries} tries`);
  assert.ok(slow < 0.02 * 300_000, `${slow} ms with threads that wait`);
});

Deno.test("where fewer threads are slower, cores being uneven, all go on", () => {
  const choice = new ThreadChoice(8, changeMs, 0);
  let now = 0, fewer = 0;
  while (now < 200_000) {
    const ms = 8 / choice.count;
    const lostMs = choice.count > 4 ? 0.4 * ms : 0;
    now += ms;
    if (choice.count < 8) fewer += ms;
    choice.changesAfter({ ms, lostMs, tokens: 1 }, now);
  }
  assert.equal(choice.count, 8);
  assert.ok(fewer < 0.1 * now, `${fewer} of ${now} ms with fewer`);
});

/** A choice that takes another number of threads every third step. */
class Restless extends ThreadChoice {
  changes = 0;
  #steps = 0;

  override changesAfter(): boolean {
    if (++this.#steps % 3 !== 0) return false;
    this.count = this.count % 3 + 1;
    this.changes++;
    return true;
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

Deno.test({
  name:
    "threads are chosen where their number is not given, and reading again is free",
  ignore: navigator.hardwareConcurrency < 2,
  async fn() {
    const { changesAfter } = ThreadChoice.prototype;
    let steps = 0;
    ThreadChoice.prototype.changesAfter = () => {
      steps++;
      return false;
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
