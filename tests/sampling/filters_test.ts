import assert from "node:assert/strict";
import fc from "fast-check";
import { Candidates } from "../../src/sampling/candidates.ts";
import {
  type Filter,
  minP,
  temperature,
  topK,
  topP,
  typicalP,
  xtc,
} from "../../src/sampling/filters.ts";
import { Random } from "../../src/random.ts";

/** A token as the slow definitions see it. */
interface Token {
  id: number;
  p: number;
}

/** Every token with its probability, likeliest first, lower ids first among equals. */
function ranked(logits: number[]): Token[] {
  const max = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - max), 0);
  return logits.map((logit, id) => ({ id, p: Math.exp(logit - max) / sum }))
    .sort((a, b) => logits[b.id] - logits[a.id] || a.id - b.id);
}

function untilMass(tokens: Token[], p: number): Token[] {
  let sum = 0;
  const end = tokens.findIndex((token) => (sum += token.p) >= p);
  return end < 0 ? tokens : tokens.slice(0, end + 1);
}

/** The ids that a filter leaves, in ascending order. */
function kept(filter: Filter, logits: number[]): number[] {
  const candidates = new Candidates(logits.length);
  candidates.reset(Float32Array.from(logits));
  filter(candidates, []);
  return [...candidates.ids.subarray(0, candidates.count)].sort((a, b) =>
    a - b
  );
}

const ids = (tokens: Token[]) =>
  tokens.map((token) => token.id).sort((a, b) => a - b);

/** Logits on a coarse grid, so that equal ones happen; exact in f32. */
const logits = fc.array(fc.integer({ min: -80, max: 80 }).map((n) => n / 8), {
  minLength: 1,
  maxLength: 700,
});
const share = fc.integer({ min: 1, max: 999 }).map((n) => n / 1000);

Deno.test("top-k leaves the k likeliest, lower ids first among equals", () => {
  fc.assert(
    fc.property(logits, fc.integer({ min: 1, max: 700 }), (logits, k) => {
      assert.deepEqual(kept(topK(k), logits), ids(ranked(logits).slice(0, k)));
    }),
  );
});

Deno.test("top-p leaves the shortest run of likeliest tokens that reaches p", () => {
  fc.assert(fc.property(logits, share, (logits, p) => {
    const fast = kept(topP(p), logits);
    const order = ranked(logits);
    assert.deepEqual(
      fast,
      ids(order.slice(0, fast.length)),
      "they are the likeliest",
    );
    const mass = (n: number) =>
      order.slice(0, n).reduce((sum, token) => sum + token.p, 0);
    assert.ok(mass(fast.length) >= p - 1e-9, "they reach p");
    assert.ok(mass(fast.length - 1) < p + 1e-9, "one fewer does not");
  }));
});

Deno.test("top-p of a flat vocabulary larger than its first guess", () => {
  assert.equal(kept(topP(0.5), new Array(4096).fill(0)).length, 2048);
  assert.equal(kept(topP(0.9999), new Array(4096).fill(0)).length, 4096);
});

Deno.test("min-p leaves tokens at least p times as likely as the likeliest", () => {
  fc.assert(fc.property(logits, share, (logits, p) => {
    const max = Math.max(...logits);
    const near = logits.filter((logit) =>
      Math.abs(Math.exp(logit - max) - p) < 1e-9
    );
    fc.pre(near.length === 0);
    const expected = logits.flatMap((logit, id) =>
      Math.exp(logit - max) >= p ? [id] : []
    );
    assert.deepEqual(kept(minP(p), logits), expected);
  }));
});

Deno.test("typical-p leaves the tokens whose surprise is nearest to the entropy", () => {
  // The entropy is 1.75, so that 0.12 and 0.11 are more typical than 0.4.
  const odds = [0.4, 0.12, 0.11, 0.1, 0.1, 0.09, 0.08];
  assert.deepEqual(kept(typicalP(0.2), odds.map(Math.log)), [1, 2]);
  fc.assert(fc.property(logits, share, (logits, p) => {
    const tokens = ranked(logits);
    const entropy = tokens.reduce((sum, { p }) => sum - p * Math.log(p), 0);
    const distance = ({ p }: Token) => Math.abs(-Math.log(p) - entropy);
    const expected = untilMass(
      tokens.toSorted((a, b) => distance(a) - distance(b)),
      p,
    );
    const fast = new Set(kept(typicalP(p), logits));
    const farthestIn = Math.max(
      ...tokens.filter((t) => fast.has(t.id)).map(distance),
    );
    const nearestOut = Math.min(
      ...tokens.filter((t) => !fast.has(t.id)).map(distance),
    );
    assert.ok(farthestIn <= nearestOut + 1e-4, "none left out is nearer");
    const mass = (some: Token[]) =>
      some.reduce((sum, token) => sum + token.p, 0);
    const least = Math.max(...tokens.map((token) => token.p));
    const sum = mass(tokens.filter((token) => fast.has(token.id)));
    assert.ok(
      sum >= p - 1e-9 && sum <= mass(expected) + least + 1e-9,
      "they just reach p",
    );
  }));
});

Deno.test("xtc drops the top choices but the least likely of them, as often as asked", () => {
  // Probabilities near 0.4, 0.3, 0.2, 0.1.
  const logits = [0.4, 0.3, 0.2, 0.1].map(Math.log);
  assert.deepEqual(kept(xtc(1, 0.15, new Random(1)), logits), [2, 3]);
  assert.deepEqual(
    kept(xtc(1, 0.35, new Random(1)), logits),
    [0, 1, 2, 3],
    "one top choice stays",
  );
  assert.deepEqual(
    kept(xtc(1, 0.45, new Random(1)), logits),
    [0, 1, 2, 3],
    "no top choice",
  );
  assert.deepEqual(
    kept(xtc(1, 0.25, new Random(1)), [0, 0]),
    [1],
    "of equals, the last",
  );

  const random = new Random(3);
  let times = 0;
  for (let i = 0; i < 4000; i++) {
    times += +(kept(xtc(0.25, 0.15, random), logits).length === 2);
  }
  assert.ok(Math.abs(times / 4000 - 0.25) < 0.03, `${times} of 4000`);
});

Deno.test("temperature scales the logits, and one near zero leaves the likeliest token", () => {
  const candidates = new Candidates(3);
  candidates.reset(Float32Array.of(1, -2, 4));
  temperature(0.5)(candidates, []);
  assert.deepEqual([...candidates.logits], [2, -4, 8]);
  assert.deepEqual(kept(temperature(1e-310), [1, -2, 4]), [2]);
});
