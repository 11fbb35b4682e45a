import assert from "node:assert/strict";
import fc from "fast-check";
import { Candidates } from "../../src/sampling/candidates.ts";
import type { Filter } from "../../src/sampling/filters.ts";
import {
  dry,
  penalties,
  tokensContaining,
} from "../../src/sampling/penalties.ts";

const vocabSize = 6;

function applied(
  filter: Filter,
  logits: number[],
  history: number[],
): number[] {
  const candidates = new Candidates(logits.length);
  candidates.reset(Float32Array.from(logits));
  filter(candidates, history);
  return [...candidates.logits];
}

const history = fc.array(fc.integer({ min: 0, max: vocabSize - 1 }), {
  maxLength: 40,
});

function assertClose(actual: number[], expected: number[]): void {
  actual.forEach((value, i) => {
    const error = Math.abs(value - expected[i]);
    assert.ok(
      error <= 1e-5 * Math.max(1, Math.abs(expected[i])),
      `${actual} is not ${expected}`,
    );
  });
}

Deno.test("penalties count the tokens of the window, and only those", () => {
  fc.assert(fc.property(
    history,
    fc.integer({ min: -1, max: 45 }).filter((n) => n !== 0),
    fc.constantFrom(1, 1.3, 0.8),
    fc.constantFrom(0, 0.5, -0.25),
    fc.constantFrom(0, 0.1),
    (
      history,
      repeatLastN,
      repeatPenalty,
      presencePenalty,
      frequencyPenalty,
    ) => {
      const logits = [-3, -1, 0, 1, 2, 5];
      const window = repeatLastN < 0 ? history : history.slice(-repeatLastN);
      const expected = logits.map((logit, id) => {
        const count = window.filter((token) => token === id).length;
        if (count === 0) return logit;
        const scaled = logit <= 0
          ? logit * repeatPenalty
          : logit / repeatPenalty;
        return scaled - count * frequencyPenalty - presencePenalty;
      });
      const filter = penalties(
        { repeatLastN, repeatPenalty, presencePenalty, frequencyPenalty },
        vocabSize,
      );
      assertClose(applied(filter, logits, history), expected);
      assertClose(applied(filter, logits, history), expected); // Nothing stays from the call before.
    },
  ));
});

/** DRY by its definition: for each token, try every earlier place where it stood. */
function slowDry(
  history: number[],
  base: number,
  multiplier: number,
  allowed: number,
  breakers: Set<number>,
): number[] {
  return Array.from({ length: vocabSize }, (_, token) => {
    let longest = 0;
    history.forEach((other, at) => {
      if (other !== token || breakers.has(token)) return;
      let n = 0;
      while (
        n < at && history[at - 1 - n] === history[history.length - 1 - n] &&
        !breakers.has(history[history.length - 1 - n])
      ) n++;
      if (at > 0) longest = Math.max(longest, n);
    });
    return longest >= Math.max(1, allowed)
      ? multiplier * base ** (longest - allowed)
      : 0;
  });
}

Deno.test("dry penalises what would lengthen a repeat, by its length", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 }),
    fc.integer({ min: 1, max: 4 }),
    fc.constantFrom([], [0], [0, 3]),
    fc.integer({ min: 1, max: 45 }),
    (history, dryAllowedLength, breakers, dryPenaltyLastN) => {
      const dryBreakers = new Set(breakers);
      const filter = dry({
        dryMultiplier: 0.8,
        dryBase: 1.5,
        dryAllowedLength,
        dryPenaltyLastN,
        dryBreakers,
      }, vocabSize);
      const window = history.slice(-dryPenaltyLastN);
      const expected = slowDry(window, 1.5, 0.8, dryAllowedLength, dryBreakers)
        .map((p) => 1 - p);
      assertClose(applied(filter, Array(vocabSize).fill(1), history), expected);
      assertClose(applied(filter, Array(vocabSize).fill(1), history), expected);
    },
  ));
});

Deno.test("dry stays finite over a long repeat", () => {
  const options = {
    dryMultiplier: 1,
    dryBase: 1.75,
    dryAllowedLength: 2,
    dryPenaltyLastN: -1,
  };
  const filter = dry({ ...options, dryBreakers: new Set() }, vocabSize);
  const logits = applied(filter, Array(vocabSize).fill(1), Array(5000).fill(2));
  assert.ok(Number.isFinite(logits[2]) && logits[2] < -1e30, `${logits[2]}`);
});

Deno.test("tokensContaining finds the tokens with a breaker in their text", () => {
  const pieces = ["a", ":", "x:y", "\n", "b"];
  assert.deepEqual(tokensContaining([":", "\n"], 5, (id) => pieces[id]), [
    1,
    2,
    3,
  ]);
});

Deno.test("a penalty that passes what f32 holds forbids no token", () => {
  const options = {
    repeatLastN: -1,
    repeatPenalty: 1.1,
    presencePenalty: 0,
    frequencyPenalty: 0,
  };
  const [logit, forbidden] = applied(
    penalties(options, 2),
    [-3.1e38, -Infinity],
    [0, 1],
  );
  assert(Number.isFinite(logit));
  assert.equal(forbidden, -Infinity);
});
