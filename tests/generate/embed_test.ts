/** Embeddings: states behind the output norm, whoever computes beside them, pooled as other implementations do. */
import assert from "node:assert/strict";
import { ContextError, load, UsageError } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { distance } from "../helpers/compare_places.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { randomModel } from "../helpers/random_model.ts";
import { hasShared, sharedUrl } from "../helpers/shared_data.ts";
import golden from "../goldens/stories260k_embeddings.json" with {
  type: "json",
};

const ids = [5, 1, 9, 9, 40, 3, 77];

for (const threads of [0, 1, 3]) {
  Deno.test(`the states of ${threads} threads give the logits, in steps with others`, async () => {
    const { source, bytes, model } = await randomModel({ layerCount: 2 });
    await using loaded = await load(bytes, { threads });
    const { engine } = loaded;
    const { hiddenSize, vocabSize } = model;
    using alone = engine.createSequence();
    const expected = await engine.evaluate(alone, ids, "all");
    const { offset, byteLength, type } = model.output;
    const output = new Float32Array(hiddenSize * vocabSize);
    dequantise(type, await source.read(offset, byteLength), output);

    using own = engine.createSequence();
    using other = engine.createSequence();
    using greedy = engine.createSequence();
    const [states, logits, [top]] = await Promise.all([
      engine.evaluateStates(own, ids, "all"),
      engine.evaluate(other, ids, "all"),
      engine.evaluateTops(greedy, ids, 1, "last"),
    ]);
    assert.deepEqual(logits, expected);
    assert.equal(top.logits[0], Math.max(...expected.at(-1)!));
    states.forEach((state, t) => {
      const row = Float32Array.from({ length: vocabSize }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < hiddenSize; k++) {
          sum += output[i * hiddenSize + k] * state[k];
        }
        return sum;
      });
      assert(distance(row, expected[t]) < 1e-5);
    });
  });
}

testNeeding(needs.data, hasShared("models/stories260K.gguf"), {
  name: "embeddings are llama.cpp's",
  async fn() {
    const source = sharedUrl("models/stories260K.gguf");
    for (const threads of [0, 2]) {
      await using model = await load(source, { threads, cacheType: "f32" });
      assert.deepEqual(model.tokenize(golden.text), golden.ids);
      for (const pooling of ["mean", "cls", "last"] as const) {
        const expected = Float32Array.from(golden[pooling]);
        const options = { pooling, normalize: false };
        const actual = await model.embed(golden.text, options);
        assert(distance(actual, expected) < 2e-3, pooling);
        const unit = await model.embed(golden.ids, { pooling, dimensions: 7 });
        const length = Math.hypot(...expected.slice(0, 7));
        const scaled = expected.slice(0, 7).map((x) => x / length);
        assert(distance(unit, scaled) < 2e-3);
        assert(Math.abs(Math.hypot(...unit) - 1) < 1e-6);
      }
    }
  },
});

Deno.test("an embedding does not depend on steps, or on what runs beside it", async () => {
  const text = "Once upon a time there was a cat. ".repeat(20);
  await using model = await load(tinyBamboo(), { threads: 1 });
  await using small = await load(tinyBamboo(), { threads: 0, batchSize: 5 });
  const [alone, ...beside] = await Promise.all([
    small.embed(text),
    model.embed(text),
    model.embed(text),
    model.complete("Tom had a", { maxTokens: 8 }),
  ]);
  assert.deepEqual(beside[0], alone);
  assert.deepEqual(beside[1], alone);
});

Deno.test("wrong embeddings are refused in a line each", async () => {
  await using model = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 32,
  });
  const wrong = [
    [[], {}, UsageError, /no tokens/],
    ["a", { dimensions: 0 }, UsageError, /dimensions/],
    ["a", { dimensions: 10_000 }, UsageError, /10000 .* the model has/],
    ["a", { pooling: "median" }, UsageError, /pooling/],
    ["word ".repeat(40), {}, ContextError, /32/],
    ["a", { signal: AbortSignal.abort(new Error("gone")) }, Error, /gone/],
  ] as const;
  for (const [text, options, kind, message] of wrong) {
    await assert.rejects(
      // deno-lint-ignore no-explicit-any -- what JavaScript may give
      model.embed(text as any, options as any),
      (error) => error instanceof kind && message.test(error.message),
    );
  }
  assert.equal(model.engine.pagesTaken, 0);
  assert((await model.embed("a")).length > 0);
});
