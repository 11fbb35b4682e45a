import assert from "node:assert/strict";
import fc from "fast-check";
import { Engine } from "../../src/engine/engine.ts";
import { LimitError, PlaceError, UsageError } from "../../src/errors.ts";
import { pagePositions } from "../../src/places/batch.ts";
import { startTeam } from "../../src/places/start.ts";
import { PagePool } from "../../src/engine/page_pool.ts";
import { Sequence } from "../../src/engine/sequence.ts";
import { topLogits } from "../../src/sampling/top_logits.ts";
import { firstLayers } from "../helpers/hybrid_plans.ts";
import { randomModel } from "../helpers/random_model.ts";
import { nextRates } from "../helpers/rates.ts";
import { hybridTeam } from "../helpers/teams.ts";
import { RecordedWorkers } from "../helpers/recorded_workers.ts";

const limits = { tokens: 8, contextSize: 80 };

async function makeEngine(threads = 0): Promise<Engine> {
  const { model, source } = await randomModel({ type: "F16" });
  const team = await startTeam(source, threads, {
    model,
    sparsity: { mode: "exact" },
    limits,
    cacheType: "f32",
    measureRecall: false,
    rates: nextRates(),
  });
  return new Engine(team, model.vocabSize);
}

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, i) => {
    assert(Math.abs(value - expected[i]) < 1e-4, `${i}: ${value}`);
  });
}

Deno.test("a forked sequence goes on as if it were alone, and leaves the other as it was", async () => {
  await using engine = await makeEngine();
  const past = Array.from({ length: 41 }, (_, i) => i);
  const alone = async (ids: number[]) => {
    using sequence = engine.createSequence();
    return (await engine.evaluate(sequence, ids))[0];
  };
  using first = engine.createSequence();
  await engine.evaluate(first, past, "none");
  using second = first.fork();
  const [a] = await engine.evaluate(first, [50, 51]);
  const [b] = await engine.evaluate(second, [60]);
  second.truncate(20);
  const [c] = await engine.evaluate(second, [70]);
  const [d] = await engine.evaluate(first, [52]);
  assertClose(a, await alone([...past, 50, 51]));
  assertClose(b, await alone([...past, 60]));
  assertClose(c, await alone([...past.slice(0, 20), 70]));
  assertClose(d, await alone([...past, 50, 51, 52]));
});

Deno.test("requests made together give what each gives alone", async () => {
  await using engine = await makeEngine();
  const texts = Array.from(
    { length: 5 },
    (_, s) => Array.from({ length: 3 + 4 * s }, (_, i) => (s * 17 + i) % 96),
  );
  const run = async (ids: number[]) => {
    using sequence = engine.createSequence();
    return await engine.evaluate(sequence, ids, "all");
  };
  const together = await Promise.all(texts.map(run));
  for (const [i, ids] of texts.entries()) {
    const rows = await run(ids);
    rows.forEach((row, position) => assertClose(together[i][position], row));
  }
  assert.equal(engine.pagesTaken, 0);
});

Deno.test("evaluate refuses what cannot be run, with both numbers, and goes on", async () => {
  await using engine = await makeEngine();
  using sequence = engine.createSequence();
  const refused: [number[], typeof UsageError, RegExp][] = [
    [[], UsageError, /empty/],
    [[96], UsageError, /token 96: the vocabulary has 96/],
    [[-1], UsageError, /token -1/],
    [[0.5], UsageError, /token 0\.5/],
    [Array(81).fill(1), LimitError, /81 tokens .* the context has 80/],
  ];
  for (const [ids, type, message] of refused) {
    await assert.rejects(engine.evaluate(sequence, ids), (error: Error) => {
      assert(error instanceof type);
      assert.match(error.message, message);
      return true;
    });
  }
  const filling = engine.evaluate(sequence, Array(80).fill(1));
  await assert.rejects(engine.evaluate(sequence, [1]), LimitError);
  assert.equal((await filling).length, 1);
});

Deno.test("an aborted request stops between steps, the others go on", async () => {
  await using engine = await makeEngine();
  using aborted = engine.createSequence();
  using other = engine.createSequence();
  const controller = new AbortController();
  const first = engine.evaluate(
    aborted,
    Array(60).fill(3),
    "last",
    controller.signal,
  );
  const second = engine.evaluate(other, [1, 2, 3]);
  controller.abort(new Error("enough"));
  await assert.rejects(first, /enough/);
  assert.equal((await second).length, 1);
  assert.equal(aborted.length, 0, "as before the request");
  await assert.rejects(
    engine.evaluate(other, [1], "last", controller.signal),
    /enough/,
  );
});

Deno.test("a closed engine refuses, and closing twice is harmless", async () => {
  for (const threads of [0, 2]) {
    const engine = await makeEngine(threads);
    const sequence = engine.createSequence();
    await engine.evaluate(sequence, [1]);
    await engine[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
    await assert.rejects(engine.evaluate(sequence, [1]), PlaceError);
  }
});

Deno.test("a worker that dies is an error that names it, not a hang", async () => {
  using workers = new RecordedWorkers();
  await using engine = await makeEngine(2);
  using sequence = engine.createSequence();
  await engine.evaluate(sequence, [1, 2, 3]);
  workers.started[1]
    .onerror!(new ErrorEvent("error", { message: "out of memory" }));
  await assert.rejects(engine.evaluate(sequence, [4]), (error: Error) => {
    assert(error instanceof PlaceError);
    assert.match(error.message, /CPU worker 1 failed: out of memory/);
    return true;
  });
});

Deno.test("without workers the model runs inline and says so", async () => {
  const Real = globalThis.Worker;
  const { getBuiltinModule } = process;
  const attempts: [unknown, RegExp][] = [
    [undefined, /inline \(Workers are missing here\)/],
    [
      class {
        constructor() {
          throw new Error("not permitted");
        }
      },
      /inline \(.*not permitted\)/,
    ],
  ];
  for (const [replacement, description] of attempts) {
    try {
      globalThis.Worker = replacement as typeof Worker;
      process.getBuiltinModule = () => undefined as never;
      await using engine = await makeEngine(2);
      assert.match(engine.description, description);
      using sequence = engine.createSequence();
      assert.equal((await engine.evaluate(sequence, [1, 2])).length, 1);
    } finally {
      globalThis.Worker = Real;
      process.getBuiltinModule = getBuiltinModule;
    }
  }
});

for (const keepsPast of [false, true]) {
  Deno.test(`whatever sequences do, pages are held by whom they belong to, past ${keepsPast ? "kept" : "forgotten"}`, () => {
    const action = fc.record({
      kind: fc.constantFrom("advance", "fork", "truncate", "drop"),
      which: fc.nat(7),
      amount: fc.integer({ min: 1, max: 70 }),
    });
    fc.assert(fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const pool = new PagePool(keepsPast);
      const sequences = new Set<Sequence>();
      const owner = { pool, sequences, layers: 1, cachedTokens: 0 };
      const texts: { sequence: Sequence; content: number[] }[] = [
        { sequence: new Sequence(owner), content: [] },
      ];
      /** What stands in each page, as a cache would hold it. */
      const memory: number[][] = [];
      let stamp = 0;
      for (const { kind, which, amount } of actions) {
        if (texts.length === 0) break;
        const index = which % texts.length;
        const { sequence, content } = texts[index];
        if (kind === "advance") {
          const before = sequence.length;
          pool.grow(pool.count + sequence.missingPages(amount));
          sequence.takeAhead(amount);
          assert.equal(sequence.missingPages(amount), 0);
          const growth = sequence.plan(amount);
          const { pages, copy } = growth;
          if (copy) memory[copy.to] = [...memory[copy.from]];
          const ids = Int32Array.from({ length: amount }, () => stamp++);
          ids.forEach((id, i) => {
            const page = memory[pages[Math.floor((before + i) / 32)]] ??= [];
            page[(before + i) % pagePositions] = id;
          });
          sequence.commit(growth, [ids]);
          content.push(...ids);
        } else if (kind === "fork") {
          texts.push({ sequence: sequence.fork(), content: [...content] });
        } else if (kind === "truncate") {
          const length = Math.min(amount, content.length);
          sequence.truncate(length);
          content.length = length;
        } else {
          sequence.drop();
          texts.splice(index, 1);
        }
        for (const { sequence, content } of texts) {
          const seen = content.map((_, p) =>
            memory[sequence.pages[Math.floor(p / pagePositions)]][
              p % pagePositions
            ]
          );
          assert.deepEqual(seen, content);
        }
      }
      for (const { sequence } of texts) sequence.drop();
      assert.equal(pool.taken, 0);
    }));
  });
}

Deno.test("the largest logits are those of the whole row, wherever the head is", async () => {
  const made = await randomModel({ type: "F16" });
  const { model } = made;
  const exact = { mode: "exact" } as const;
  const engines: Record<string, Engine> = {
    "in this thread": await makeEngine(),
    "in 2 threads": await makeEngine(2),
    "on a GPU": new Engine(
      await hybridTeam(made, firstLayers(model, 1, true), exact),
      model.vocabSize,
    ),
  };
  for (const [name, engine] of Object.entries(engines)) {
    await using _ = engine;
    using past = engine.createSequence();
    await engine.evaluate(past, [3, 1, 4], "none");
    const [row] = await engine.evaluate(past.fork(), [1]);
    // Alone, together, with one that wants all, and more than are picked.
    const asked = [[5], [1, 47, 9], [0, 8], [60], [1000]];
    for (const counts of asked) {
      const given = await Promise.all(
        counts.map(async (k) =>
          k === 0
            ? topLogits((await engine.evaluate(past.fork(), [1]))[0], 8)
            : await engine.evaluateTop(past.fork(), [1], k)
        ),
      );
      given.forEach(({ ids, logits, logSumExp }, i) => {
        const what = `${counts[i]} of ${counts} ${name}`;
        const expected = topLogits(row, counts[i] || 8);
        assert.deepEqual(ids, expected.ids, what);
        assertClose(logits, expected.logits);
        assert(Math.abs(logSumExp - expected.logSumExp) < 1e-5, what);
      });
    }
    // Without their sum, and among them such as are more than some place holds.
    for (const counts of [[1], [5, 9], [13], [20, 1], [47]]) {
      const given = await Promise.all(
        counts.map((k) =>
          engine.evaluateTop(past.fork(), [1], k, undefined, false)
        ),
      );
      given.forEach(({ ids, logits }, i) => {
        const expected = topLogits(row, counts[i]);
        assert.deepEqual(ids, expected.ids, `${counts[i]} ${name}`);
        if (engine.gpu) assertClose(logits, expected.logits);
        else assert.deepEqual(logits, expected.logits);
      });
    }
    const tokens = [1, 5, 9];
    const rows = await engine.evaluate(past.fork(), tokens, "all");
    const tops = await engine.evaluateTops(past.fork(), tokens, 4, "all");
    const few = [past.fork(), tokens, 4, "all", undefined, false] as const;
    for (const given of [tops, await engine.evaluateTops(...few)]) {
      assert.deepEqual(
        given.map(({ ids }) => ids),
        rows.map((row) => topLogits(row, 4).ids),
        name,
      );
    }
    for (const k of [0, -1, 1.5, NaN]) {
      await assert.rejects(
        engine.evaluateTop(past, [1], k),
        (error: Error) =>
          error instanceof UsageError && error.message.includes(`the ${k} `),
      );
    }
  }
});
