import assert from "node:assert/strict";
import { load, type LoadOptions } from "../../../mod.ts";
import { fromBuffer, readGguf } from "../../../gguf.ts";
import {
  type PlaceStats,
  synthesise,
  type SynthOptions,
  synthShapes,
  totalOf,
} from "../../../lab.ts";
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import { toBuffer } from "../../../src/formats/gguf/write.ts";
import { seededRandom } from "../../helpers/seeded_random.ts";

const tiny: SynthOptions = {
  shape: synthShapes.tiny,
  type: "Q4_0",
  form: "powerinfer",
  activation: "drelu",
  gatePositive: 0.39,
  active: 0.15,
  seed: 1,
};

function make(options: Partial<SynthOptions> = {}) {
  return toBuffer(synthesise({ ...tiny, ...options }).chunks);
}

/** What was counted while a file took random tokens in. */
async function statsOf(
  bytes: Uint8Array,
  options: LoadOptions = {},
): Promise<PlaceStats> {
  await using model = await load(bytes, { threads: 0, ...options });
  using sequence = model.engine.createSequence();
  const random = seededRandom(7);
  const ids = Array.from(
    { length: 256 },
    () => Math.floor(random() * model.model.vocabSize),
  );
  const [logits] = await model.engine.evaluate(sequence, ids, "last");
  assert.ok(logits.every((logit) => Math.abs(logit) < 20), "sane logits");
  return model.engine.stats();
}

function near(actual: number, expected: number, within: number): void {
  assert.ok(
    Math.abs(actual - expected) <= within,
    `${actual} is not within ${within} of ${expected}`,
  );
}

Deno.test("neurons fire, and gates are positive, as often as asked", async (t) => {
  const cases: Partial<SynthOptions>[] = [
    {},
    { gatePositive: 0.2, active: 0.1, type: "Q8_0", seed: 2 },
    { gatePositive: 0.6, active: 0.4, type: "F16" },
    { gatePositive: 0.3, active: 0.15, type: "Q4_K" },
    { gatePositive: 0.39, active: 0.15, type: "Q6_K" },
  ];
  for (const options of cases) {
    await t.step(JSON.stringify(options), async () => {
      const { gatePositive, active } = { ...tiny, ...options };
      const stats = await statsOf(await make(options));
      const neurons = totalOf(stats, "neurons");
      near(totalOf(stats, "gatePositive") / neurons, gatePositive, 0.02);
      near(totalOf(stats, "active") / neurons, active, 0.02);
    });
  }
});

Deno.test("experts are chosen unevenly, and their neurons fire as often as asked", async () => {
  const shape = {
    ...synthShapes.tiny,
    feedForwardSize: 64,
    layerCount: 2,
    headSize: 32,
    expertCount: 32,
    usedExperts: 4,
  };
  const options = {
    shape,
    type: "F16",
    activation: "reglu",
    active: 0.3,
  } as const;
  const bytes = await make({ ...options, gatePositive: 0.3, form: "llama" });
  await using model = await load(bytes, { threads: 0, countNeurons: true });
  using sequence = model.engine.createSequence();
  const random = seededRandom(7);
  const ids = Array.from({ length: 512 }, () => Math.floor(1024 * random()));
  const [logits] = await model.engine.evaluate(sequence, ids, "last");
  const stats = model.engine.stats();
  assert.equal(totalOf(stats, "chosenExperts"), 512 * 4 * 2);
  near(totalOf(stats, "active") / totalOf(stats, "neurons"), 0.3, 0.02);
  const { layers: [{ active }] } = model.engine.profile();
  const fired = Array.from(
    { length: 32 },
    (_, e) =>
      active.subarray(64 * e, 64 * (e + 1)).reduce((a, b) => a + b) / 64,
  );
  const rare = fired.filter((times) => times < 0.14 * 0.3 * 512).length;
  assert(rare >= 0.65 * 32 && rare <= 0.85 * 32, `${rare} of 32 experts`);
  // The same weights in PowerInfer's form.
  const other = await make({ ...options, gatePositive: 0.3 });
  await using sparse = await load(other, { threads: 0 });
  using same = sparse.engine.createSequence();
  const [again] = await sparse.engine.evaluate(same, ids, "last");
  again.forEach((logit, i) => near(logit, logits[i], 1e-3));
});

Deno.test("in ReGLU the neurons whose gate is positive fire", async () => {
  const stats = await statsOf(await make({ activation: "reglu" }));
  const active = totalOf(stats, "active");
  assert.equal(active, totalOf(stats, "gatePositive"));
  near(active / totalOf(stats, "neurons"), 0.15, 0.02);
});

Deno.test("a predictor reaches the recall asked for, and asks for less the more it knows", async (t) => {
  const reached = async (rank: number, recall: number) => {
    const stats = await statsOf(await make({ predictor: { rank, recall } }), {
      sparsity: { mode: "predictor" },
      measureRecall: true,
    });
    near(totalOf(stats, "recalled") / totalOf(stats, "truth"), recall, 0.03);
    return totalOf(stats, "predicted") / totalOf(stats, "neurons");
  };
  await t.step("rank 512, recall 0.95", async () => {
    near(await reached(512, 0.95), 0.17, 0.03);
  });
  await t.step("rank 128, recall 0.8", async () => {
    assert.ok(await reached(128, 0.8) < await reached(128, 0.95));
    assert.ok(await reached(288, 0.95) + 0.05 < await reached(128, 0.95));
  });
});

Deno.test("hot neurons lie scattered, and layers differ", async () => {
  const bytes = await make({ active: 0.15 });
  await using model = await load(bytes, { threads: 0, countNeurons: true });
  using sequence = model.engine.createSequence();
  const ids = Array.from({ length: 256 }, (_, i) => (4 * i + 1) % 1024);
  await model.engine.evaluate(sequence, ids, "last");
  const { layers } = model.engine.profile()!;
  const hot = layers.map(({ active }) =>
    Array.from(active.keys()).filter((id) => active[id] > ids.length / 2)
  );
  for (const ids of hot) {
    // About a tenth of 1024 neurons fire most of the time, a quarter of them in each quarter.
    near(ids.length / 1024, 0.1, 0.04);
    for (let quarter = 0; quarter < 4; quarter++) {
      const within = ids.filter((id) => Math.floor(id / 256) === quarter);
      near(within.length / ids.length, 0.25, 0.15);
    }
  }
  const both = hot[0].filter((id) => hot[1].includes(id));
  assert.ok(both.length < hot[0].length / 2);
});

Deno.test("a seed repeats a file, another makes another", async () => {
  const bytes = await make();
  assert.deepEqual(await make(), bytes);
  const other = await make({ seed: 2 });
  assert.equal(other.length, bytes.length);
  const [first, second] = [bytes, other].map((each) => each.subarray(-4096));
  assert.notDeepEqual(first, second);
});

Deno.test("both forms hold the same weights", async () => {
  const shape = { ...synthShapes.tiny, layerCount: 2, feedForwardSize: 544 };
  const sparse = await weightsOf(await make({ shape, type: "F16" }));
  const dense = await weightsOf(
    await make({ shape, type: "F16", form: "llama" }),
  );
  assert.equal(sparse.size, dense.size);
  for (const [name, weights] of dense) {
    const { hiddenSize, feedForwardSize } = shape;
    const expected = name.includes("ffn_down")
      ? transposed(
        sparse.get(name.replace("ffn_down", "ffn_down_t"))!,
        feedForwardSize,
        hiddenSize,
      )
      : sparse.get(name)!;
    assert.deepEqual(weights, expected, name);
  }
});

Deno.test("every type is written, and runs as its own llama twin", async (t) => {
  const types = [
    "F32",
    "BF16",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q3_K",
    "Q5_K",
  ] as const;
  for (const type of types) {
    await t.step(type, async () => {
      const shape = { ...synthShapes.tiny, layerCount: 1 };
      const stats = await statsOf(await make({ type, shape, form: "llama" }));
      assert.equal(stats.layers.length, 1);
    });
  }
});

Deno.test("the vocabulary of the 7B shape covers any text", async () => {
  const shape = { ...synthShapes.tiny, layerCount: 1, vocabSize: 32000 };
  await using model = await load(await make({ shape }), { threads: 0 });
  const text = "The path to the river, 7 € — 竹\n";
  const ids = model.tokenize(text, { addSpecial: false });
  assert.equal(model.detokenize(ids).trimStart(), text);
  assert.ok(model.tokenize("the river").length <= 5, "letters are merged");
});

Deno.test("what makes no model is refused in one line, with the numbers", async (t) => {
  const shapeOf = (sizes: Partial<SynthOptions["shape"]>) => ({
    shape: { ...synthShapes.tiny, ...sizes },
  });
  const wrong: [Partial<SynthOptions>, RegExp][] = [
    [shapeOf({ hiddenSize: 64 }), /hiddenSize 64: .* from 192 up/],
    [
      shapeOf({ hiddenSize: 1 << 20 }),
      /hiddenSize 1048576: the limit is 65536/,
    ],
    [shapeOf({ hiddenSize: 260 }), /hiddenSize 260: .* multiple of 8/],
    [
      { ...shapeOf({ hiddenSize: 320 }), type: "Q4_K" },
      /hiddenSize 320: .* multiple of 256 \(the type's block\)/,
    ],
    [shapeOf({ kvHeadCount: 3 }), /headCount 4: .* multiple of 3/],
    [shapeOf({ feedForwardSize: 1000 }), /feedForwardSize 1000/],
    [shapeOf({ vocabSize: 100 }), /vocabulary of 100 tokens: needs 354/],
    [{ active: 0 }, /share of 0 of the neurons fire/],
    [{ active: 0.5 }, /share of 0.39 of the gates positive: .* 0.500/],
    [{ predictor: { rank: 32, recall: 0.9 } }, /rank 32: needs 64/],
    [{ predictor: { rank: 100, recall: 0.9 } }, /rank 100: .* multiple of 32/],
    [{ predictor: { rank: 64, recall: 1 } }, /recall 1/],
    [
      { form: "llama", predictor: { rank: 64, recall: 0.9 } },
      /predictor into a file of form llama/,
    ],
  ];
  for (const [options, message] of wrong) {
    await t.step(message.source, () => {
      assert.throws(() => synthesise({ ...tiny, ...options }), message);
    });
  }
});

async function weightsOf(
  bytes: Uint8Array<ArrayBuffer>,
): Promise<Map<string, Float32Array>> {
  const { tensors } = await readGguf(fromBuffer(bytes, "synthetic"));
  return new Map(
    [...tensors].map(([name, { type, shape, offset, byteLength }]) => {
      const weights = new Float32Array(shape.reduce((a, b) => a * b));
      dequantise(type, bytes.subarray(offset, offset + byteLength), weights);
      return [name, weights];
    }),
  );
}

/** `[rows][columns]` turned into `[columns][rows]`. */
function transposed(
  weights: Float32Array,
  rows: number,
  columns: number,
): Float32Array {
  return weights.map((_, at) =>
    weights[(at % rows) * columns + Math.floor(at / rows)]
  );
}
