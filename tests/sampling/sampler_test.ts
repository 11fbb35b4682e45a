import assert from "node:assert/strict";
import fc from "fast-check";
import { PlaceError, UsageError } from "../../src/errors.ts";
import { logSoftmaxAt } from "../../src/sampling/logprobs.ts";
import {
  defaultSamplers,
  parseSamplers,
  type SamplingOptions,
} from "../../src/sampling/options.ts";
import { makeSampler } from "../../src/sampling/sampler.ts";
import { forbid } from "../../src/sampling/token_mask.ts";
import { topLogits } from "../../src/sampling/top_logits.ts";

/** Options under which nothing but the softmax decides. */
const plain: SamplingOptions = { temperature: 1, topK: 0, topP: 1, minP: 0 };

function draws(
  options: SamplingOptions,
  logits: Float32Array,
  n: number,
  history: number[] = [],
): number[] {
  const sampler = makeSampler(options, logits.length);
  return Array.from({ length: n }, () => sampler.sample(logits, history).id);
}

Deno.test("a temperature of 0 takes the likeliest token, the lower of equals", () => {
  assert.deepEqual(draws({ temperature: 0 }, Float32Array.of(1, 5, 5, -2), 3), [
    1,
    1,
    1,
  ]);
  assert.deepEqual(
    draws(
      { temperature: -1, xtcProbability: 1, xtcThreshold: 0.1 },
      Float32Array.of(1, 1.5, -3),
      1,
    ),
    [0],
  );
  assert.deepEqual(
    draws({ temperature: 0, repeatPenalty: 3 }, Float32Array.of(4, 5), 1, [1]),
    [0],
  );
  assert.deepEqual(
    draws({ temperature: 0, samplers: ["top_k"] }, Float32Array.of(4, 5), 1),
    [1],
  );
});

Deno.test("tokens come as often as their probabilities say", () => {
  const probabilities = [0.5, 0.25, 0.15, 0.1];
  const logits = Float32Array.from(probabilities, Math.log);
  const n = 20000;
  const counts = [0, 0, 0, 0];
  for (const id of draws({ ...plain, seed: 7 }, logits, n)) counts[id]++;
  const chi = counts.reduce(
    (sum, count, i) =>
      sum + (count - n * probabilities[i]) ** 2 / (n * probabilities[i]),
    0,
  );
  assert.ok(
    chi < 21.1,
    `chi-squared ${chi} of 3 degrees passes 21.1 once in 10,000 times: ${counts}`,
  );

  // At temperature 0.5 probabilities are squared before they are made to sum to one.
  const cold =
    draws({ ...plain, seed: 7, temperature: 0.5 }, logits, n).filter((id) =>
      id === 0
    ).length;
  assert.ok(Math.abs(cold / n - 0.25 / 0.345) < 0.015, `${cold} of ${n}`);
});

Deno.test("the same seed gives the same tokens, and another seed others", () => {
  const logits = Float32Array.from({ length: 100 }, (_, i) => Math.sin(i));
  for (const options of [{}, plain, { xtcProbability: 0.5 }]) {
    const first = draws({ ...options, seed: 5 }, logits, 40);
    assert.deepEqual(draws({ ...options, seed: 5 }, logits, 40), first);
    assert.notDeepEqual(draws({ ...options, seed: 6 }, logits, 40), first);
  }
});

Deno.test("a random seed is exposed, and gives the same tokens again", () => {
  const logits = new Float32Array(50);
  const first = makeSampler({ ...plain, seed: -1 }, 50);
  assert.ok(first.seed >= 0);
  const ids = Array.from({ length: 20 }, () => first.sample(logits, []).id);
  assert.deepEqual(draws({ ...plain, seed: first.seed }, logits, 20), ids);
  assert.equal(makeSampler({ seed: 0 }, 50).seed, 0);
});

Deno.test("logprobs are of the unmodified logits, and the logits stay as they were", () => {
  const logits = Float32Array.of(1, 2, 3, 4);
  const options = {
    temperature: 0.3,
    topK: 2,
    seed: 1,
    repeatPenalty: 2,
    logitBias: { 0: 9 },
  };
  const sampler = makeSampler(options, 4);
  const { id, logprob } = sampler.sample(logits, [3]);
  assert.equal(logprob, logSoftmaxAt(Float32Array.of(1, 2, 3, 4), id));
  assert.deepEqual([...logits], [1, 2, 3, 4]);
  assert.equal(
    makeSampler(options, 4, { logprob: false }).sample(logits, [3]).logprob,
    NaN,
  );
});

Deno.test("a bias favours or forbids tokens", () => {
  const logits = Float32Array.of(1, 2, 3);
  assert.deepEqual(
    draws({ temperature: 0, logitBias: new Map([[0, 5]]) }, logits, 1),
    [0],
  );
  const seen = new Set(
    draws({ ...plain, seed: 1, logitBias: { 2: -Infinity } }, logits, 200),
  );
  assert.deepEqual(seen, new Set([0, 1]));
  for (
    const options of [plain, {}, { temperature: 0 }, { typicalP: 0.5 }, {
      xtcProbability: 1,
    }]
  ) {
    const sampler = makeSampler({
      ...options,
      logitBias: { 0: -Infinity, 1: -Infinity, 2: -Infinity },
    }, 3);
    assert.throws(() => sampler.sample(logits, []), UsageError);
  }
});

Deno.test("the order of the chain is the caller's", () => {
  const logits = Float32Array.from([0.6, 0.3, 0.1], Math.log);
  // At temperature 3 the likeliest token alone no longer reaches 0.5, unless top-p comes before.
  const options = { ...plain, temperature: 3, topP: 0.5, seed: 1 };
  const seen = (samplers: string) =>
    new Set(
      draws({ ...options, samplers: parseSamplers(samplers) }, logits, 200),
    ).size;
  assert.equal(seen("top_p;temperature"), 1);
  assert.equal(seen("temperature;top_p"), 2);
  assert.equal(seen("temperature"), 3);
  assert.deepEqual(parseSamplers(defaultSamplers.join(";")), [
    ...defaultSamplers,
  ]);
  assert.deepEqual(parseSamplers("top-k; temp;typical"), [
    "top_k",
    "temperature",
    "typ_p",
  ]);
  assert.throws(() => parseSamplers("top_k;mirostat"), UsageError);
});

Deno.test("any logits and options give a token that the filters allow, or a typed error", () => {
  const value = fc.oneof(
    fc.float(),
    fc.constantFrom(NaN, Infinity, -Infinity, 0, 1),
  );
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 20 }),
      fc.record({
        temperature: fc.constantFrom(0, 0.01, 1, 50),
        topK: fc.integer({ min: -1, max: 30 }),
        topP: fc.double({ min: 0, max: 1, noNaN: true }),
        minP: fc.double({ min: 0, max: 1, noNaN: true }),
        typicalP: fc.double({ min: 0, max: 1, noNaN: true }),
        repeatPenalty: fc.constantFrom(1, 1.1),
        xtcProbability: fc.constantFrom(0, 1),
        dryMultiplier: fc.constantFrom(0, 1),
        samplers: fc.shuffledSubarray([...defaultSamplers]),
      }),
      (values, options) => {
        const logits = Float32Array.from(values);
        const bad = logits.some((x) => Number.isNaN(x) || x === Infinity) ||
          logits.every((x) => x === -Infinity);
        const sampler = makeSampler({ ...options, seed: 1 }, logits.length);
        if (bad) {
          return assert.throws(
            () => sampler.sample(logits, []),
            PlaceError,
          );
        }
        const { id } = sampler.sample(logits, [0, 0, 0, 0]);
        assert.ok(logits[id] > -Infinity, `token ${id}`);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("options out of range are named", () => {
  const bad: [SamplingOptions, RegExp][] = [
    [{ temperature: NaN }, /temperature NaN/],
    [{ topK: 1.5 }, /topK 1.5/],
    [{ topP: 1.1 }, /topP 1.1: it is a number from 0 to 1/],
    [{ minP: -0.1 }, /minP -0.1/],
    [{ repeatPenalty: 0 }, /repeatPenalty 0/],
    [{ repeatLastN: -2 }, /repeatLastN -2/],
    [{ seed: -2 }, /seed -2/],
    [{ seed: 1.5 }, /seed 1.5/],
    [{ logitBias: { 10: 1 } }, /token 10: the vocabulary has ids 0 to 9/],
    [{ logitBias: { 1: NaN } }, /token 1 by NaN/],
    [
      { samplers: ["nucleus" as "top_p"] },
      /samplers.0 "nucleus": it is one of penalties/,
    ],
    [{ topK: "40" as unknown as number }, /topK "40"/],
  ];
  for (const [options, message] of bad) {
    assert.throws(() => makeSampler(options, 10), {
      name: "UsageError",
      message,
    });
  }
  assert.throws(
    () => makeSampler({}, 10).sample(new Float32Array(9), []),
    UsageError,
  );
});

Deno.test("a sampler says how many of the largest logits it needs", () => {
  const cases: [SamplingOptions, number][] = [
    [{}, 40],
    [{ topK: 7, topP: 0.5, xtcProbability: 0.5 }, 7],
    [{ temperature: 0 }, 1],
    [{ temperature: 0, xtcProbability: 1 }, 40],
    [{ temperature: 0, samplers: [] }, 1],
    [{ topK: 0 }, 0],
    [{ temperature: 0, typicalP: 0.5, topK: 0 }, 0],
    [{ logitBias: { 3: 1 } }, 0],
    [{ repeatPenalty: 1.1 }, 0],
    [{ repeatPenalty: 1.1, repeatLastN: 32 }, 72],
    [{ repeatPenalty: 0.9, repeatLastN: 32 }, 0],
    [{ repeatPenalty: 1.1, repeatLastN: -1 }, 0],
    [{ frequencyPenalty: 0.1, repeatLastN: 8, temperature: 0 }, 9],
    [{ frequencyPenalty: -0.1, repeatLastN: 8 }, 0],
    [{ dryMultiplier: 1, dryPenaltyLastN: 5, topK: 3 }, 8],
    [{ logitBias: { 3: -Infinity, 5: -1 } }, 42],
    [{ logitBias: { 3: -1, 5: 1 } }, 0],
    [{ logitBias: { 3: -1 }, temperature: 0 }, 2],
    [{ temperature: 0, dryMultiplier: 1 }, 0],
    [{ samplers: ["temperature", "top_k"] }, 0],
  ];
  for (const [options, top] of cases) {
    assert.equal(makeSampler(options, 100).top, top, JSON.stringify(options));
  }
  const some = topLogits(new Float32Array(100), 39);
  assert.throws(
    () => makeSampler({}, 100).sample(some, []),
    /the 39 largest logits, and 40 are needed/,
  );
  assert.throws(
    () => makeSampler({ topK: 0 }, 100).sample(some, []),
    /the 39 largest logits, and 100 are needed/,
  );
});

Deno.test("of tokens that a bias makes equal the lower comes first, of the largest too", () => {
  const logits = new Float32Array(50).fill(-9);
  logits[3] = 4;
  logits[9] = 5;
  const options = { topK: 1, logitBias: { 9: -1 } };
  for (const given of [logits, topLogits(logits, 2)]) {
    const { id } = makeSampler(options, logits.length).sample(given, []);
    assert.equal(id, 3);
  }
});

Deno.test("the largest logits give the tokens that all of them give", () => {
  const coarse = fc.integer({ min: -8, max: 8 }).map((value) => value / 2);
  fc.assert(
    fc.property(
      fc.array(coarse, { minLength: 50, maxLength: 200 }),
      fc.record({
        temperature: fc.constantFrom(-1, 0, 0.3, 1, 4),
        topK: fc.integer({ min: 1, max: 45 }),
        topP: fc.constantFrom(0.3, 0.9, 1),
        minP: fc.constantFrom(0, 0.1),
        typicalP: fc.constantFrom(0.5, 1),
        xtcProbability: fc.constantFrom(0, 0.5),
        repeatPenalty: fc.constantFrom(1, 1.5, 1e6),
        presencePenalty: fc.constantFrom(0, 0.5, 2),
        repeatLastN: fc.nat({ max: 6 }),
        dryMultiplier: fc.constantFrom(0, 1),
        dryPenaltyLastN: fc.nat({ max: 6 }),
        logitBias: fc.dictionary(
          fc.nat({ max: 49 }).map(String),
          fc.constantFrom(-0.5, -2, 0, -Infinity),
          { maxKeys: 4 },
        ),
        seed: fc.nat(),
      }),
      fc.nat({ max: 10 }),
      fc.array(fc.nat({ max: 9 }), { maxLength: 12 }),
      (values, options, more, history) => {
        const logits = Float32Array.from(values);
        const { top } = makeSampler(options, logits.length);
        if (top === 0) return fc.pre(false);
        const largest = topLogits(logits, top + more);
        const [all, some] = [logits, largest].map((given) => {
          const sampler = makeSampler(options, logits.length);
          return Array.from(
            { length: 10 },
            () => sampler.sample(given, history),
          );
        });
        assert.deepEqual(some, all);
      },
    ),
  );
});

Deno.test("a mask leaves what sampling from the other logits alone would give", () => {
  const vocabSize = 100;
  const options: SamplingOptions[] = [
    { temperature: 0 },
    {},
    plain,
    { topK: 3 },
    { typicalP: 0.7, minP: 0.1, topP: 0.8 },
    { xtcProbability: 0.5, temperature: 1.3 },
    { repeatPenalty: 1.5, dryMultiplier: 1, temperature: 0 },
    { logitBias: { 3: 2, 40: -Infinity } },
  ];
  fc.assert(fc.property(
    fc.array(fc.integer({ min: -40, max: 40 }), {
      minLength: vocabSize,
      maxLength: vocabSize,
    }),
    fc.uniqueArray(fc.nat(vocabSize - 1), { minLength: 2, maxLength: 99 }),
    fc.constantFrom(...options),
    fc.nat(1000),
    (numbers, allowed, choice, seed) => {
      // No two are equal, so that their order is the same however they are numbered.
      const all = Float32Array.from(numbers, (n, id) => n / 4 + id / 1024);
      const ids = allowed.sort((a, b) => a - b);
      const mask = new Uint32Array(4);
      for (const id of ids) mask[id >>> 5] |= 1 << (id & 31);
      const given = { seed, ...choice };
      const masked = makeSampler(given, vocabSize);
      const fromPicked = makeSampler(given, vocabSize);
      const largest = all.slice();
      forbid(mask, largest);
      const picked = topLogits(largest, masked.top || vocabSize);
      // The same of a vocabulary that has no others.
      const { logitBias: bias = {} } = choice as {
        logitBias?: Record<number, number>;
      };
      const logitBias = Object.fromEntries(
        ids.flatMap((id, i) => id in bias ? [[i, bias[id]]] : []),
      );
      const alone = makeSampler({ ...given, logitBias }, ids.length);
      const few = Float32Array.from(ids, (id) => all[id]);
      const history = ids.slice(0, 5);
      const places = history.map((_, i) => i);
      for (let i = 0; i < 4; i++) {
        const { id } = masked.sample(all, history, mask);
        assert.equal(id, ids[alone.sample(few, places).id]);
        assert.equal(fromPicked.sample(picked, history, mask).id, id);
      }
    },
  ));
});

Deno.test("a mask needs logits that it allows, and has to leave some", () => {
  const logits = Float32Array.of(1, 2, 3);
  const sampler = makeSampler({}, 3);
  const none = () => sampler.sample(logits, [], Uint32Array.of(0));
  assert.throws(none, UsageError);
  const top = topLogits(logits, 3);
  const few = () => sampler.sample(top, [], Uint32Array.of(3));
  assert.throws(few, UsageError);
  const biased = makeSampler({ logitBias: { 0: -Infinity } }, 3);
  assert.throws(
    () => biased.sample(logits, [], Uint32Array.of(1)),
    /logitBias forbids every token that may come/,
  );
});
