import assert from "node:assert/strict";
import fc from "fast-check";
import { PlaceError, UsageError } from "../../src/errors.ts";
import { logSoftmaxAt, topLogprobs } from "../../src/sampling/logprobs.ts";
import { topLogits } from "../../src/sampling/top_logits.ts";

const logits = fc.array(fc.float({ noNaN: true, min: -100, max: 100 }), {
  minLength: 1,
  maxLength: 300,
}).map((values) => Float32Array.from(values));

Deno.test("log-probabilities are those of the softmax", () => {
  fc.assert(fc.property(logits, (logits) => {
    const probabilities = Array.from(
      logits,
      (_, id) => Math.exp(logSoftmaxAt(logits, id)),
    );
    assert.ok(Math.abs(probabilities.reduce((a, b) => a + b) - 1) < 1e-9);
    const difference = logSoftmaxAt(logits, 0) -
      logSoftmaxAt(logits, logits.length - 1);
    assert.ok(
      Math.abs(difference - (logits[0] - logits[logits.length - 1])) < 1e-9,
    );
  }));
});

Deno.test("topLogprobs gives the likeliest tokens, in the very doubles of logSoftmaxAt", () => {
  fc.assert(
    fc.property(logits, fc.integer({ min: 0, max: 320 }), (logits, n) => {
      const expected = Array.from(logits, (logit, id) => ({ id, logit }))
        .sort((a, b) => b.logit - a.logit || a.id - b.id).slice(0, n)
        .map(({ id }) => ({ id, logprob: logSoftmaxAt(logits, id) }));
      assert.deepEqual(topLogprobs(logits, n), expected);
      const largest = topLogits(logits, n + 1);
      assert.deepEqual(topLogprobs(largest, n), expected);
      for (const { id, logprob } of expected) {
        assert.equal(logSoftmaxAt(largest, id), logprob);
      }
    }),
  );
});

Deno.test("logits that are no numbers give an error, and -Infinity is a number", () => {
  assert.throws(() => topLogprobs(Float32Array.of(1, NaN), 1), PlaceError);
  assert.throws(
    () => logSoftmaxAt(Float32Array.of(1, Infinity), 0),
    PlaceError,
  );
  assert.throws(
    () => logSoftmaxAt(new Float32Array(3).fill(-Infinity), 0),
    PlaceError,
  );
  assert.throws(() => logSoftmaxAt(new Float32Array(3), 3), UsageError);
  assert.throws(() => topLogits(Float32Array.of(1, NaN), 1), PlaceError);
  assert.throws(
    () => logSoftmaxAt(topLogits(new Float32Array(3), 2), 2),
    /token 2: it is not among the 2 largest/,
  );
  assert.equal(logSoftmaxAt(Float32Array.of(0, -Infinity), 1), -Infinity);
});
