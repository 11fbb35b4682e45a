import assert from "node:assert/strict";
import fc from "fast-check";
import { parseSparsity } from "../../src/plan/sparsity.ts";
import { lengthOf } from "../../src/model/index_set.ts";
import { kvHeadsOf, splitEvenly, splitRange } from "../../src/plan/plan.ts";
import { UsageError } from "../../src/errors.ts";
import { randomModel } from "../helpers/random_model.ts";

Deno.test("splitRange holds every index once, in order, at multiples of the unit", () => {
  fc.assert(
    fc.property(
      fc.nat(5000),
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom(1, 32, 100),
      (count, shares, unit) => {
        const ranges = splitRange(count, shares, unit);
        let next = 0;
        for (const { start, end } of ranges) {
          assert.equal(start, next);
          assert(end >= start && (end % unit === 0 || end === count));
          assert(end - start <= count / shares + unit);
          next = end;
        }
        assert.equal(next, count);
      },
    ),
  );
});

Deno.test("splitEvenly covers heads, neurons and vocabulary, also with more places than heads", async () => {
  const { model } = await randomModel({ headCount: 4, kvHeadCount: 2 });
  for (const count of [1, 2, 3, 7]) {
    const { places } = splitEvenly(model, count);
    assert.equal(places.length, count);
    const sum = (length: (place: typeof places[number]) => number) =>
      places.reduce((total, place) => total + length(place), 0);
    assert.equal(sum(({ vocab }) => vocab.end - vocab.start), model.vocabSize);
    for (let layer = 0; layer < model.layers.length; layer++) {
      const part = (place: typeof places[number]) => place.parts[layer];
      assert.equal(sum((p) => part(p).heads.end - part(p).heads.start), 4);
      assert.equal(
        sum((p) => lengthOf(part(p).neurons)),
        model.feedForwardSize,
      );
    }
  }
});

Deno.test("kvHeadsOf takes every KV head that a query head needs", async () => {
  const { model } = await randomModel({ headCount: 8, kvHeadCount: 2 });
  assert.deepEqual(kvHeadsOf(model, { start: 0, end: 4 }), {
    start: 0,
    end: 1,
  });
  assert.deepEqual(kvHeadsOf(model, { start: 3, end: 5 }), {
    start: 0,
    end: 2,
  });
  assert.deepEqual(kvHeadsOf(model, { start: 5, end: 5 }), {
    start: 0,
    end: 0,
  });
});

Deno.test("parseSparsity reads each mode and refuses the rest in one line", () => {
  assert.deepEqual(parseSparsity("dense"), { mode: "dense" });
  assert.deepEqual(parseSparsity("exact"), { mode: "exact" });
  assert.deepEqual(parseSparsity("predictor"), { mode: "predictor" });
  assert.deepEqual(parseSparsity("predictor=-0.5"), {
    mode: "predictor",
    threshold: -0.5,
  });
  assert.deepEqual(parseSparsity("top-k=0.15"), { mode: "top-k", share: 0.15 });
  assert.deepEqual(parseSparsity("threshold=0.1"), {
    mode: "threshold",
    value: 0.1,
  });
  const wrong = [
    "",
    "Dense",
    "dense=1",
    "top-k",
    "top-k=0",
    "top-k=1.1",
    "top-k=",
    "threshold=-1",
    "threshold=x",
    "predictor=NaN",
  ];
  for (const text of wrong) {
    assert.throws(() => parseSparsity(text), (error: Error) => {
      assert(error instanceof UsageError);
      assert(!error.message.includes("\n") && error.message.includes(text));
      return true;
    });
  }
});
