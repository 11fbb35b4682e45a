/** Predictors made of random models and random inputs, beside what their definition gives. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  defaultRank,
  type MadeLayer,
  makePredictor,
  type PredictorToWrite,
  type States,
} from "../../../lab.ts";
import type { Model } from "../../../gguf.ts";
import type { TensorToWrite } from "../../../convert.ts";
import type { ByteSource } from "../../../src/bytes/byte_source.ts";
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import type { TensorInfo } from "../../../src/formats/gguf/read.ts";
import { thresholdOf } from "../../../src/lab/predictor/threshold.ts";
import { randomModel } from "../../helpers/random_model.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";

Deno.test("the threshold is the largest that the asked share of scores reaches", () => {
  const scores = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1 });
  const share = fc.double({ min: 0.01, max: 0.99, noNaN: true });
  fc.assert(fc.property(scores, share, (values, recall) => {
    const threshold = thresholdOf(Float32Array.from(values), recall);
    const reached = (least: number) =>
      values.filter((value) => value >= least).length;
    const needed = recall * values.length - 1e-6;
    assert(reached(threshold) >= needed);
    assert(reached(threshold + 1) < needed + 1e-3 || reached(threshold) === 0);
  }));
  assert.equal(thresholdOf(new Float32Array(), 0.9), Infinity);
});

function randomStates({ layers, hiddenSize }: Model, tokens: number): States {
  return {
    tokens,
    layers: layers.map((_, i) => gaussianVector(tokens * hiddenSize, 40 + i)),
  };
}

/** Rows of a matrix, and products with them, the plain way. */
function rowsOf(values: Float32Array, columns: number): Float32Array[] {
  return Array.from(
    { length: values.length / columns },
    (_, i) => values.subarray(i * columns, (i + 1) * columns),
  );
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

async function weightsOf(
  source: ByteSource,
  { type, offset, byteLength, shape }: TensorInfo,
): Promise<Float32Array[]> {
  const values = new Float32Array(shape[0] * shape[1]);
  dequantise(type, await source.read(offset, byteLength), values);
  return rowsOf(values, shape[0]);
}

function storedRows({ tensors }: PredictorToWrite, name: string) {
  const tensor = tensors.find((each) => each.name === name)!;
  const { type, shape, data } = tensor as TensorToWrite & { data: Uint8Array };
  const values = new Float32Array(shape[0] * shape[1]);
  dequantise(type, data, values);
  return { type, shape, rows: rowsOf(values, shape[0]) };
}

for (const architecture of ["bamboo", "llama"] as const) {
  const activation = architecture === "bamboo" ? "drelu" : "reglu";
  Deno.test(`${activation}: at full rank a score is the sum of unit rows, at any rank the threshold is the held-out tokens'`, async () => {
    const { model, source } = await randomModel({
      architecture,
      magic: "PWRI",
      hiddenSize: 60,
      headCount: 3,
      kvHeadCount: 3,
      feedForwardSize: 90,
      downByNeuron: true,
    });
    assert.equal(model.activation, activation);
    const states = randomStates(model, 160);
    for (const [rank, recall] of [[60, 0.9], [9, 0.8]] as const) {
      const made = await makePredictor(model, source, states, { rank, recall });
      assert.equal(made.tensors.length, 2 * model.layers.length);
      for (const [i, layer] of model.layers.entries()) {
        const gate = await weightsOf(source, layer.ffn_gate!);
        const up = await weightsOf(source, layer.ffn_up);
        const fc1 = storedRows(made, `blk.${i}.fc1.weight`);
        const fc2 = storedRows(made, `blk.${i}.fc2.weight`);
        assert.deepEqual([fc1.shape, fc2.shape], [[60, rank], [rank, 90]]);
        const firing: number[] = [];
        rowsOf(states.layers[i], 60).forEach((x, t) => {
          const z = fc1.rows.map((row) => dot(row, x));
          for (let j = 0; j < 90; j++) {
            const g = dot(gate[j], x), u = dot(up[j], x);
            const score = dot(fc2.rows[j], z);
            if (rank === 60) {
              const unit = (value: number, row: Float32Array) =>
                value / Math.hypot(...row);
              const expected = unit(g, gate[j]) +
                (activation === "drelu" ? unit(u, up[j]) : 0);
              assert(Math.abs(score - expected) < 0.02);
            }
            const fires = g > 0 && (activation === "reglu" || u > 0);
            if (fires && t >= 140) firing.push(score);
          }
        });
        const asked = firing.filter((score) =>
          score >= made.thresholds[i] - 1e-3
        );
        const reached = asked.length / firing.length;
        assert(
          reached >= recall && reached < recall + 0.02,
          `${reached}, not ${recall}`,
        );
      }
    }
  });
}

Deno.test("rows that blocks of 32 fit are stored as Q8_0 and Q4_0", async () => {
  const { model, source } = await randomModel({ hiddenSize: 96 });
  const made = await makePredictor(model, source, randomStates(model, 80), {
    rank: 64,
  });
  assert.deepEqual(made.tensors.slice(0, 2).map(({ type }) => type), [
    "Q8_0",
    "Q4_0",
  ]);
  assert.equal(defaultRank({ ...model, hiddenSize: 96 }), 64);
  assert.equal(defaultRank({ ...model, hiddenSize: 48 }), 48);
  assert.equal(defaultRank({ ...model, hiddenSize: 4096 }), 256);
});

Deno.test("the same text makes the same predictor, also after an abort", async () => {
  const { model, source } = await randomModel();
  const states = randomStates(model, 80);
  const first = await makePredictor(model, source, states);
  assert.deepEqual(await makePredictor(model, source, states), first);
  const done: number[] = [], made: MadeLayer[] = [];
  const controller = new AbortController();
  const stopped = makePredictor(model, source, states, {
    signal: controller.signal,
    onLayer: (layer, count, total) => {
      made.push(layer);
      done.push(count, total);
      controller.abort();
    },
  });
  await assert.rejects(stopped, { name: "AbortError" });
  assert.deepEqual(done, [1, 2]);
  const resumed = await makePredictor(model, source, states, {
    made,
    onLayer: (_, ...counts) => void done.push(...counts),
  });
  assert.deepEqual(done, [1, 2, 2, 2]);
  assert.deepEqual(resumed, first);
});

Deno.test("what cannot be made is refused with the numbers", async () => {
  const { model, source } = await randomModel();
  const swiglu = await randomModel({ architecture: "llama" });
  const biased = await randomModel({
    architecture: "llama",
    magic: "PWRI",
    biases: true,
  });
  const refused: [Model, number, object, RegExp][] = [
    [biased.model, 80, {}, /its neurons have biases/],
    [swiglu.model, 80, {}, /activation swiglu: its neurons are never zero/],
    [model, 80, { rank: 65 }, /rank 65: needs a whole number from 1 to 64/],
    [model, 80, { rank: 1.5 }, /rank 1\.5/],
    [model, 80, { recall: 1 }, /recall 1: needs a number above 0, below 1/],
    [model, 80, { recall: 0 }, /recall 0/],
    [model, 80, { threads: -1 }, /threads -1: needs a whole number from 0/],
    [model, 63, {}, /63 tokens: needs 64 or more/],
  ];
  for (const [each, tokens, options, message] of refused) {
    await assert.rejects(
      makePredictor(each, source, randomStates(each, tokens), options),
      message,
    );
  }
});
