/** Screened or not, a head picks the same logits, bit by bit. */
import assert from "node:assert/strict";
import { load } from "../../../mod.ts";
import { quantise } from "../../../src/formats/ggml/quantise.ts";
import { compileKernels } from "../../../src/kernels/kernels.ts";
import { Activations, PackedMatrix } from "../../../src/kernels/matrix.ts";
import { instantiate, WasmMemory } from "../../../src/kernels/memory.ts";
import type { Model } from "../../../src/model/model.ts";
import { CpuPlace } from "../../../src/places/cpu/cpu_place.ts";
import { Head } from "../../../src/places/cpu/head.ts";
import { ScreenChoice } from "../../../src/places/cpu/screen_choice.ts";
import type { Picked } from "../../../src/places/top_logits_row.ts";
import { splitEvenly } from "../../../src/plan/plan.ts";
import {
  countAllowed,
  forbid,
  maskWords,
} from "../../../src/sampling/token_mask.ts";
import { topLogits } from "../../../src/sampling/top_logits.ts";
import { tinyBamboo } from "../../../tiny/tiny.ts";
import { randomModel } from "../../helpers/random_model.ts";
import { nextRates } from "../../helpers/rates.ts";
import { seededGaussian, seededRandom } from "../../helpers/seeded_random.ts";

const modules = [
  await compileKernels("relaxed"),
  await compileKernels("simd128"),
];

type Fill = (row: number, column: number, gaussian: () => number) => number;

/** Weights by row and column. */
const heads: Readonly<Record<string, Fill>> = {
  "normal": (_row, _column, gaussian) => gaussian(),
  "equal rows": (row, column) => Math.sin((row % 5) * 7 + column),
  "all zero": () => 0,
  "rows of very different sizes": (row, _column, gaussian) =>
    gaussian() * 10 ** (row % 7 - 4),
  "columns of very different sizes": (_row, column, gaussian) =>
    gaussian() * 10 ** (column % 5 - 3),
  "what nibbles round worst": (row, column) =>
    (column % 32 === 0 ? 8 : 0.5) * ((row >> column % 8) % 2 ? 1 : -1),
  "nearly equal rows": (row, column) =>
    Math.cos(column) + (row === column ? 0.02 : 0),
  "huge": (_row, _column, gaussian) => gaussian() * 1e4,
};

/** Numbers of states. */
const states: Readonly<
  Record<string, (column: number, gaussian: () => number) => number>
> = {
  "normal": (_column, gaussian) => gaussian(),
  "a few columns large": (column, gaussian) =>
    gaussian() * (column % 29 === 3 ? 40 : 1),
  "zero": () => 0,
  "tiny": (_column, gaussian) => gaussian() * 1e-30,
  "huge": (_column, gaussian) => gaussian() * 1e9,
  "with NaN": (column) => column === 17 ? NaN : 1,
  "with an infinity": (column) => column === 5 ? -Infinity : 1,
  "of one column": (column) => column === 9 ? 3 : 0,
};

interface Problem {
  readonly type: "Q8_0" | "Q6_K";
  readonly rows: number;
  readonly columns: number;
  readonly fill: Fill;
  readonly scale?: number;
  readonly cap?: number;
  readonly seed: number;
}

/** States of a step, at most; more than are screened. */
const mostStates = 10;

/** A head that screens its rows, one that does not, and what writes a state for both. */
function makeHeads({ type, rows, columns, fill, scale, cap, seed }: Problem) {
  const gaussian = seededGaussian(seed);
  const weights = Float32Array.from(
    { length: rows * columns },
    (_, i) => fill(Math.floor(i / columns), i % columns, gaussian),
  );
  const bytes = quantise(type, weights);
  const memory = new WasmMemory(instantiate(modules[seed % 2]));
  const output = new PackedMatrix(memory, {
    tensor: {
      name: "output.weight",
      type,
      shape: [columns, rows],
      offset: 0,
      byteLength: bytes.length,
    },
    rows: { start: 0, end: rows },
    columns: { start: 0, end: columns },
  });
  const staging = { pointer: memory.allocate(1 << 20), bytes: 1 << 20 };
  output.write({ first: 0, count: rows, bytes }, staging);
  const x = new Activations(memory, mostStates, columns);
  const model = { logitScale: scale ?? 1, logitCap: cap } as Model;
  const write = (
    of: (column: number, gaussian: () => number) => number,
    row = 0,
  ) => {
    const state = Float32Array.from(
      { length: columns },
      (_, column) => of(column, gaussian),
    );
    memory.f32(x.pointer + 4 * row * x.stride, columns).set(state);
    x.changed();
  };
  const screened = new Head(
    memory,
    model,
    output,
    x,
    mostStates,
    new ScreenChoice("on"),
  );
  const plain = new Head(memory, model, output, x, mostStates);
  return { screened, plain, write };
}

/** What a place knows of a row: its own logits, or, by chance, what another has. */
function leastOf(
  own: Picked,
  all: Picked,
  k: number,
  random: () => number,
): number {
  const least = random() < 0.5
    ? own.logits.slice().sort()[0]
    : all.logits[Math.floor(random() * k)];
  return Number.isNaN(least) ? -Infinity : least;
}

/** Those of the picked that are at least as large as another place's. */
function reaching({ ids, logits }: Picked, least: number): [number, number][] {
  return [...ids].map((id, i): [number, number] => [id, logits[i]])
    .filter(([, logit]) => !(logit < least));
}

for (const [name, fill] of Object.entries(heads)) {
  Deno.test(`the largest logits of a head are the same when it is screened: ${name}`, () => {
    const problems: Problem[] = [
      { type: "Q8_0", rows: 1211, columns: 320, fill, seed: 1 },
      { type: "Q6_K", rows: 611, columns: 256, fill, scale: 0.7, seed: 2 },
      { type: "Q8_0", rows: 700, columns: 96, fill, cap: 5, seed: 3 },
      { type: "Q8_0", rows: 800, columns: 352, fill, cap: 5, seed: 6 },
      { type: "Q6_K", rows: 300, columns: 256, fill, seed: 5 },
      { type: "Q8_0", rows: 70, columns: 32, fill, cap: 30, scale: 3, seed: 4 },
    ];
    for (const problem of problems) {
      const { screened, plain, write } = makeHeads(problem);
      const random = seededRandom(5);
      for (let i = 0; i < 60; i++) {
        write(states["a few columns large"]);
        screened.run([1]);
        screened.reach([-Infinity]);
      }
      for (const [kind, of] of Object.entries(states)) {
        for (const k of [1, 2, 5, 40, 256]) {
          if (k > problem.rows) continue;
          const what = `${k} of ${JSON.stringify(problem)}, ${kind}`;
          write(of);
          plain.run([k]);
          const [all] = plain.picked;
          screened.run([k]);
          // As alone, or beside a place that has some larger ones.
          const least = leastOf(screened.picked[0], all, k, random);
          screened.reach([least]);
          assert.deepEqual(
            reaching(screened.picked[0], least),
            reaching(all, least),
            what,
          );
          assert(screened.picked[0].ids.length <= k);
        }
      }
    }
  });

  Deno.test(`so are those of several states at once: ${name}`, () => {
    const problems: Problem[] = [
      { type: "Q8_0", rows: 1211, columns: 320, fill, seed: 1 },
      { type: "Q6_K", rows: 611, columns: 256, fill, scale: 0.7, seed: 2 },
      { type: "Q8_0", rows: 800, columns: 352, fill, cap: 5, seed: 3 },
    ];
    const kinds = Object.values(states);
    for (const problem of problems) {
      const { screened, plain, write } = makeHeads(problem);
      const random = seededRandom(6);
      const anyOf = <T>(values: readonly T[]): T =>
        values[Math.floor(random() * values.length)];
      let few = 0;
      for (let step = 0; step < 60; step++) {
        const count = 1 + step % mostStates;
        for (let row = 0; row < count; row++) {
          const usual = step < 30 || random() < 0.6;
          write(usual ? states["a few columns large"] : anyOf(kinds), row);
        }
        // Of some all logits are wanted, now and then.
        const ks = step % 4 === 3 ? [0, 1, 40] : [1, 2, 5, 40];
        const picks = Array.from({ length: count }, () => anyOf(ks));
        const whole = plain.run(picks);
        const bytes = screened.run(picks);
        const least = picks.map((k, row) =>
          k > 0
            ? leastOf(screened.picked[row], plain.picked[row], k, random)
            : -Infinity
        );
        if (bytes + screened.reach(least) !== whole) few++;
        for (const [row, k] of picks.entries()) {
          assert.deepEqual(
            reaching(screened.picked[row], least[row]),
            reaching(plain.picked[row], least[row]),
            `row ${row} of ${count}, ${k} of ${JSON.stringify(problem)}`,
          );
          assert(screened.picked[row].ids.length <= k);
          if (k === 0) assert.deepEqual(screened.row(row), plain.row(row));
        }
      }
      if (name === "normal") assert(few > 10, `${few} steps were screened`);
    }
  });
}

Deno.test("few rows are read where a logit stands out, those that several states need once", () => {
  const { screened, plain, write } = makeHeads({
    type: "Q8_0",
    rows: 1211,
    columns: 320,
    fill: (row, column, gaussian) => row === column ? 30 : gaussian(),
    seed: 7,
  });
  const alike = (i: number) => (column: number, gaussian: () => number) =>
    column === i ? 20 : gaussian();
  const screen = (count: number) => {
    const picks = Array<number>(count).fill(1);
    const whole = plain.run(picks);
    const least = plain.picked.map(({ logits }) => logits[0]);
    const bytes = screened.run(picks) + screened.reach(least);
    assert.deepEqual(screened.picked, plain.picked);
    return { bytes, whole };
  };
  for (let i = 0; i < 60; i++) {
    write(alike(3 * i));
    const { bytes, whole } = screen(1);
    if (i > 50) assert(bytes < 0.7 * whole, `${bytes} of ${whole}`);
  }
  for (let count = 2; count <= 8; count++) {
    for (let row = 0; row < count; row++) write(alike(7 * row), row);
    const { bytes, whole } = screen(count);
    assert(bytes < 0.75 * whole, `${count} states: ${bytes} of ${whole}`);
  }
  const bytesOf = (count: number) => {
    for (let row = 0; row < count; row++) write((i) => i === 5 ? 20 : 1, row);
    return screen(count).bytes;
  };
  assert.equal(bytesOf(8), bytesOf(1));
});

const screenedVocabSize = 997;

/** A random model whose head is screened. */
async function loadScreened(type: "Q8_0" | "Q6_K" | "F32", threads: number) {
  const { bytes } = await randomModel({
    type,
    hiddenSize: 256,
    headCount: 4,
    vocabSize: screenedVocabSize,
    seed: 6,
  });
  return await load(bytes, { threads, gpu: "off", screenHead: "on" });
}

Deno.test("screened heads give the logits of whole ones, for any number of threads", async () => {
  for (const type of ["Q8_0", "Q6_K"] as const) {
    for (const threads of [0, 1, 2, 3]) {
      await using model = await loadScreened(type, threads);
      const { engine } = model;
      using sequence = engine.createSequence();
      let id = 1;
      for (let i = 0; i < 64; i++) {
        using whole = sequence.fork();
        const [row] = await engine.evaluate(whole, [id]);
        const k = [1, 7, 40][i % 3];
        const { ids, logits } = await engine.evaluateTop(
          sequence,
          [id],
          k,
          undefined,
          false,
        );
        const expected = topLogits(row, k);
        assert.deepEqual(ids, expected.ids, `${k}, ${threads} threads`);
        assert.deepEqual(logits, expected.logits);
        id = ids[i % k];
      }
      // Drafts, and beside them what others want: few logits, their sum too, or all.
      for (let i = 0; i < 16; i++) {
        const draft = Array.from({ length: 1 + i % 6 }, (_, j) => i + 7 * j);
        const tops = async (k: number, needsSum: boolean) => {
          using copy = sequence.fork();
          const args = [copy, draft, k, "all", undefined, needsSum] as const;
          return await engine.evaluateTops(...args);
        };
        const whole = async () => {
          using copy = sequence.fork();
          return await engine.evaluate(copy, draft, "all");
        };
        const rows = await whole();
        const [few, more, sums, all] = await Promise.all([
          tops(1, false),
          i % 2 ? tops(40, false) : [],
          i % 4 > 1 ? tops(5, true) : [],
          i % 8 > 5 ? whole() : [],
        ]);
        for (const [top, k] of [[few, 1], [more, 40], [sums, 5]] as const) {
          for (const [j, { ids, logits, logSumExp }] of top.entries()) {
            const expected = topLogits(rows[j], k);
            assert.deepEqual(ids, expected.ids);
            assert.deepEqual(logits, expected.logits);
            const isWhole = k === 5;
            assert.equal(logSumExp, isWhole ? expected.logSumExp : NaN);
          }
        }
        if (all.length > 0) assert.deepEqual(all, rows);
      }
    }
  }
});

Deno.test("the largest logits that a mask allows are those of the whole row", async () => {
  const vocabSize = screenedVocabSize;
  const random = seededRandom(5);
  // From a single token to all of them.
  const shares = [0, 0.002, 0.1, 0.24, 0.3, 0.6, 0.98, 1];
  const maskOf = (share: number) => {
    const mask = new Uint32Array(maskWords(vocabSize));
    const some = Math.floor(random() * vocabSize);
    for (let id = 0; id < vocabSize; id++) {
      const isAllowed = id === some || random() < share;
      mask[id >>> 5] |= Number(isAllowed) << (id & 31);
    }
    return mask;
  };
  for (const type of ["Q8_0", "F32"] as const) {
    for (const threads of [0, 3]) {
      await using model = await loadScreened(type, threads);
      const { engine } = model;
      using sequence = engine.createSequence();
      let whole = 0;
      const check = async (token: number, k: number, share: number) => {
        using copy = sequence.fork();
        const [row] = await engine.evaluate(copy, [token]);
        using other = sequence.fork();
        const mask = maskOf(share);
        const given = Promise.resolve(mask);
        const top = await engine.evaluateMasked(other, [token], k, given);
        if (top instanceof Float32Array) {
          assert.deepEqual(top, row);
          whole++;
          return;
        }
        forbid(mask, row);
        const allowed = Math.min(k, countAllowed(mask));
        const expected = topLogits(row, allowed);
        assert.deepEqual(top.ids.subarray(0, allowed), expected.ids);
        assert.deepEqual(top.logits.subarray(0, allowed), expected.logits);
        assert(top.logits.subarray(allowed).every((l) => l === -Infinity));
      };
      await engine.evaluateTop(sequence, [1], 1, undefined, false);
      for (let i = 0; i < 48; i++) {
        await check(i, [1, 7, 40][i % 3], shares[i % shares.length]);
        const learnt = [i * 7 % vocabSize];
        await engine.evaluateTop(sequence, learnt, 1, undefined, false);
      }
      // Beside one another, and beside what is not masked.
      for (let i = 0; i < 8; i++) {
        using copy = sequence.fork();
        await Promise.all([
          check(i, 1, shares[i]),
          check(i + 1, 40, shares[7 - i]),
          check(i + 2, 7, 0.9),
          i % 2 ? engine.evaluateTop(copy, [i], 5, undefined, false) : [],
        ]);
      }
      if (threads === 0) assert.equal(whole, 0);
      assert(whole < 36, `${whole} of 72 rows are whole`);
    }
  }
});

Deno.test("a mask that fails, or comes late, leaves all logits", async () => {
  for (const threads of [0, 2]) {
    await using model = await load(tinyBamboo(), { threads, gpu: "off" });
    const { engine } = model;
    using sequence = engine.createSequence();
    const [row] = await engine.evaluate(sequence, [1, 2]);
    const masked = async (mask: Promise<Uint32Array>) => {
      using other = engine.createSequence();
      return await engine.evaluateMasked(other, [1, 2], 4, mask);
    };
    const failed = Promise.reject(new Error("no mask"));
    failed.catch(() => {});
    assert.deepEqual(await masked(failed), row);
    if (threads === 0) continue;
    const late = Promise.withResolvers<Uint32Array>();
    assert.deepEqual(await masked(late.promise), row);
    // The next step has no part in it.
    late.resolve(new Uint32Array(maskWords(row.length)));
    assert.deepEqual(await masked(failed), row);
  }
});

Deno.test("texts are the same with a screened head", async () => {
  const written = async (screenHead: "on" | "off", threads: number) => {
    await using model = await load(tinyBamboo(), {
      threads,
      screenHead,
      contextSize: 128,
    });
    const ids: number[][] = [];
    for (const seed of [1, 2, 3]) {
      const options = { maxTokens: 40, seed, temperature: seed === 1 ? 0 : 1 };
      const text: number[] = [];
      for await (const piece of model.generate("Once upon a time", options)) {
        text.push(piece.id);
      }
      ids.push(text);
    }
    return ids;
  };
  const plain = await written("off", 0);
  for (const threads of [0, 1, 2]) {
    const screened = await written("on", threads);
    assert.deepEqual(screened, plain);
  }
});

Deno.test("room for the head's copies is left where it lies: with fewer layers beside it", async () => {
  const { model } = await randomModel({ type: "Q8_0", vocabSize: 997 });
  const [plan] = splitEvenly(model, 1).places;
  const make = (screenHead: "on" | "off", bankBytes?: number) =>
    new CpuPlace(modules[0], {
      model,
      plan,
      sparsity: { mode: "exact" },
      limits: { tokens: 1, contextSize: 32 },
      cacheType: "f32",
      measureRecall: false,
      rates: nextRates(),
      screenHead,
      bankBytes,
    });
  const { weightBytes } = make("off");
  const memories = (["off", "on"] as const).map((screenHead) => {
    let count = 0;
    make(screenHead, weightBytes).watchKernels((kernels) => {
      count++;
      return kernels;
    });
    return count;
  });
  assert.deepEqual(memories, [1, 2]);
});
