import assert from "node:assert/strict";
import type { StepProfile, WorkTime } from "../../lab.ts";
import { totalOf } from "../../lab.ts";
import { load } from "../../mod.ts";
import {
  breakDown,
  breakdownText,
  causesOf,
  meanOf,
} from "../../cli/commands/bench/breakdown.ts";
import { Engine } from "../../src/engine/engine.ts";
import { kindOfColumns, packedRowBytes } from "../../src/kernels/packing.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { randomModel } from "../helpers/random_model.ts";
import { cpuTeam, type MakeTeam, teams } from "../helpers/teams.ts";
import { runCli } from "./run_cli.ts";

const work = (
  stage: string,
  work: string,
  ms: number,
  rest: Partial<WorkTime> = {},
): WorkTime => ({ stage, work, calls: 1, ms, bytes: 0, ...rest });

Deno.test("causes are what rows take in a cache, what reading takes beyond that, and the rest", () => {
  const step: StepProfile = {
    idleMs: 3,
    ms: 40,
    watchMs: 2,
    work: [
      work("project", "rms_norm", 1),
      work("project", "matmul", 10, { computingMs: 4, readingMs: 7 }),
      work("down", "matmul", 5, { computingMs: 4, readingMs: 2 }),
      work("ffnActivations", "matvec_rows", 6, { computingMs: 2 }),
      work("ffnActivations", "wait", 7),
      work("ffnActivations", "JavaScript", 8),
    ],
  };
  assert.deepEqual(causesOf(step), {
    instructions: 1 + 4 + 4 + 2,
    reading: 3,
    latency: 3 + 1 + 4,
    waiting: 7,
    javascript: 40 - 2 - 11 - 3 - 8 - 7,
    watching: 2,
    idle: 3,
  });
  const { javascript, watching } = causesOf({ ...step, watchMs: 30 });
  assert.deepEqual([javascript, watching], [0, 40 - 11 - 3 - 8 - 7]);
});

Deno.test("the mean of steps counts what a step has not as nothing", () => {
  const one = { idleMs: 1, ms: 4, watchMs: 1 };
  const { ms, work: mean } = meanOf([
    { ...one, work: [work("head", "matmul", 4, { bytes: 6, computingMs: 2 })] },
    { ...one, ms: 2, work: [work("down", "add", 1)] },
  ]);
  assert.equal(ms, 3);
  assert.deepEqual(
    mean.map(({ work, calls, ms, bytes, computingMs }) => [
      work,
      calls,
      ms,
      bytes,
      computingMs,
    ]),
    [["matmul", 0.5, 2, 3, 1], ["add", 0.5, 0.5, 0, undefined]],
  );
});

for (const threads of [0, 1, 2]) {
  Deno.test(`a token's time is broken down, with ${threads} threads, and its bytes are those that are counted`, async () => {
    await using model = await load(tinyBamboo(), { threads, hotShare: 0 });
    const test = { kind: "tg", tokens: 16, depth: 5 } as const;
    const { signal } = new AbortController();
    const breakdown = await breakDown(model, test, signal);
    assert.equal(breakdown.threads.length, threads || 1);
    for (const { ms, watchMs, work } of breakdown.threads) {
      const sum = work.reduce((sum, { ms }) => sum + ms, 0);
      assert(sum > 0 && sum <= ms, `parts of ${sum} ms in ${ms}`);
      assert(watchMs > 0 && watchMs < ms);
      const stages = new Set(work.map(({ stage }) => stage));
      for (const stage of ["project", "attention", "down", "head"]) {
        assert(stages.has(stage), stage);
      }
      const waits = work.filter(({ work }) => work === "wait");
      assert.equal(waits.length > 0, threads === 2);
      for (const { work: name, bytes, computingMs } of work) {
        assert.equal(bytes > 0, computingMs !== undefined, name);
      }
    }
    assert.match(
      breakdownText(breakdown),
      /^tg16 @ d5: a token of .*\nstage +work .*\n(.*\n)*attention +kv_store .*\n(.*\n)*\ncause .*\ninstructions /,
    );
  });
}

Deno.test("tokens on fewer threads than most are left out", async () => {
  await using model = await load(tinyBamboo(), { threads: 2, hotShare: 0 });
  const { engine } = model, trace = engine.trace.bind(engine);
  let traced = 0;
  engine.trace = async (...args) =>
    (await trace(...args)).slice(0, ++traced % 4 === 1 ? 1 : 2);
  const test = { kind: "tg", tokens: 16, depth: 0 } as const;
  const { signal } = new AbortController();
  const { tokens, threads } = await breakDown(model, test, signal);
  assert.equal(tokens, 4); // The middle half of 6 of 8.
  assert.equal(threads.length, 2);
});

const down = { downByNeuron: true, type: "Q8_0" } as const;
const sizes = { hiddenSize: 64, feedForwardSize: 160 };
const predicted = { ...down, ...sizes, predictorRank: 16 };
const inThreads = teams["cpu, 2 threads"];
const aMemoryALayer: MakeTeam = (made, sparsity) =>
  cpuTeam(made, splitEvenly(made.model, 2), sparsity, { bankBytes: 1 });
for (
  const [name, mode, shape, makeTeam] of [
    ["dense", "dense", { downByNeuron: false }, inThreads],
    ["exact", "exact", down, inThreads],
    ["predictor", "predictor", predicted, inThreads],
    ["predictor, a memory a layer", "predictor", predicted, aMemoryALayer],
  ] as const
) {
  Deno.test(`kernels read the bytes that are counted, ${name}`, async () => {
    const made = await randomModel(shape);
    const team = await makeTeam(made, { mode });
    await using engine = new Engine(team, made.model.vocabSize);
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, [1, 2, 3]);
    const before = engine.stats();
    const lanes = await engine.trace(sequence, 4);
    const after = engine.stats();
    const counted = (["streamed", "picked"] as const).reduce(
      (sum, name) => sum + totalOf(after, name) - totalOf(before, name),
      after.headBytes - before.headBytes,
    );
    const seen = lanes.flatMap(({ profile }) => profile!.work)
      .reduce((sum, { bytes }) => sum + bytes, 0);
    // The embedding's row alone is counted and not multiplied.
    const row = packedRowBytes(
      kindOfColumns(made.model.token_embd.type, 0, made.model.hiddenSize),
      made.model.hiddenSize,
    );
    assert.equal(counted - seen, row);
  });
}

Deno.test("bench --breakdown prints it, and says what it needs", async () => {
  const args = ["bench", "-t", "1", "-r", "1", "-p", "0", "--breakdown"];
  const { code, err } = await runCli([...args, "-n", "8"]);
  assert.equal(code, 0, err);
  assert.match(err, /^head +matmul .*\n(.*\n)*JavaScript +[\d.]+ +[\d.]+ %$/m);
  const none = await runCli([...args, "-n", "1"]);
  assert.match(none.err, /Cannot break down less than two single tokens/);
});
