/** Predictors as files: what is written is used, and what does not fit is refused. */
import assert from "node:assert/strict";
import { FormatError, load, type LoadOptions, UsageError } from "../../mod.ts";
import { readGguf } from "../../gguf.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { type TensorToWrite, toBuffer } from "../../src/formats/gguf/write.ts";
import { fingerprintOf } from "../../src/model/predictor_file.ts";
import {
  type PredictorToWrite,
  writePredictor,
} from "../../src/model/predictor_file.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { gaussianVector } from "../helpers/seeded_random.ts";

const ids = [1, 2, 3, 4];
const rank = 8;

function tensor(name: string, shape: number[], seed: number): TensorToWrite {
  const values = gaussianVector(shape[0] * shape[1], seed, 0.2);
  return { name, type: "F32", shape, data: quantise("F32", values) };
}

async function predictorFor(
  { model, source }: RandomModel,
  change: Partial<PredictorToWrite> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { hiddenSize, feedForwardSize } = model;
  return await toBuffer(writePredictor({
    fingerprint: await fingerprintOf(model, source),
    thresholds: model.layers.map(() => 0),
    recall: 0.9,
    tokens: 100,
    tensors: model.layers.flatMap((_, i) => [
      tensor(`blk.${i}.fc1.weight`, [hiddenSize, rank], i),
      tensor(`blk.${i}.fc2.weight`, [rank, feedForwardSize], 50 + i),
    ]),
    ...change,
  }));
}

async function run({ bytes }: RandomModel, options: LoadOptions) {
  await using model = await load(bytes, { threads: 0, ...options });
  using sequence = model.engine.createSequence();
  const [logits] = await model.engine.evaluate(sequence, ids);
  return { logits, layers: model.engine.stats().layers };
}

const predictor = { mode: "predictor" } as const;

Deno.test("a predictor of another file is used, in place of the model's own too", async () => {
  const made = await randomModel();
  const own = await randomModel({ predictorRank: 12 });
  for (const each of [made, own]) {
    const file = await predictorFor(each);
    const asked = async (sparsity: LoadOptions["sparsity"], threads = 0) => {
      const options = { sparsity, predictor: file, threads };
      const { layers } = await run(each, options);
      return layers.map(({ predicted, neurons }) => predicted / neurons);
    };
    const shares = await asked(predictor);
    assert(shares.every((share) => share > 0.3 && share < 0.7), `${shares}`);
    assert.deepEqual(await asked(predictor, 2), shares);
    assert.deepEqual(await asked({ ...predictor, threshold: 1e9 }), [0, 0]);
    assert.deepEqual(await asked({ ...predictor, threshold: -1e9 }), [1, 1]);
  }
});

Deno.test("a file says whether it has a ReLU: its scores are then those of the model's own", async () => {
  // The model's own predictor is PowerInfer's: what it selects is what a file with the same tensors must.
  const own = await randomModel({ predictorRank: 12 });
  const { tensors } = await readGguf(own.source);
  const same = [...tensors.values()].filter(({ name }) =>
    /\.fc[12]\.weight$/.test(name)
  );
  const copied: TensorToWrite[] = [];
  for (const { name, type, shape, offset, byteLength } of same) {
    const data = await own.source.read(offset, byteLength);
    copied.push({ name, type, shape, data });
  }
  const asked = async (options: LoadOptions) => {
    const { layers } = await run(own, { sparsity: predictor, ...options });
    return layers.map(({ predicted }) => predicted);
  };
  const relu = await predictorFor(own, { form: "relu", tensors: copied });
  assert.deepEqual(await asked({ predictor: relu }), await asked({}));
  const linear = await predictorFor(own, { tensors: copied });
  assert.notDeepEqual(await asked({ predictor: linear }), await asked({}));
});

Deno.test("a layer without a predictor is computed exactly", async () => {
  const made = await randomModel();
  const file = await predictorFor(made);
  const none = await predictorFor(made, { tensors: [] });
  await assert.rejects(
    run(made, { sparsity: predictor, predictor: none }),
    /the file has none/,
  );
  const { hiddenSize, feedForwardSize } = made.model;
  const second = await predictorFor(made, {
    tensors: [
      tensor("blk.1.fc1.weight", [hiddenSize, rank], 1),
      tensor("blk.1.fc2.weight", [rank, feedForwardSize], 51),
    ],
  });
  const count = async (file: Uint8Array) =>
    (await run(made, { sparsity: predictor, predictor: file })).layers
      .map(({ predicted, gateRows }) => [predicted > 0, gateRows]);
  const dense = ids.length * feedForwardSize;
  assert.deepEqual((await count(second))[0], [false, dense]);
  assert.equal((await count(second))[1][0], true);
  assert.equal((await count(file))[0][0], true);
});

Deno.test("a model knows its predictor again, and no other does", async () => {
  const base: RandomModelOptions = { type: "Q4_0", feedForwardSize: 128 };
  const options: RandomModelOptions[] = [
    base,
    { ...base, seed: 2 },
    { ...base, type: "Q8_0" },
    { ...base, layerCount: 1 },
    { ...base, feedForwardSize: 160 },
  ];
  const prints = [];
  for (const each of [...options, base]) {
    const { model, source } = await randomModel(each);
    prints.push(await fingerprintOf(model, source));
  }
  assert.equal(prints.pop(), prints[0]);
  assert.equal(new Set(prints).size, options.length);
});

Deno.test("what does not fit is refused in one line that says why", async () => {
  const made = await randomModel();
  const { hiddenSize, feedForwardSize } = made.model;
  const file = await predictorFor(made);
  const one = (shape1: number[], shape2: number[]) =>
    predictorFor(made, {
      tensors: [
        tensor("blk.0.fc1.weight", shape1, 1),
        tensor("blk.0.fc2.weight", shape2, 2),
      ],
    });
  const refused: [Uint8Array, typeof FormatError, RegExp][] = [
    [
      await predictorFor(await randomModel({ seed: 9 })),
      UsageError,
      /made for another model \([0-9a-f]{12}, this one is [0-9a-f]{12}\)/,
    ],
    [made.bytes, FormatError, /general\.type is not "activation-predictor"/],
    [file.subarray(0, file.length - 40), FormatError, /needs bytes/],
    [file.subarray(0, 20), FormatError, /buffer/],
    [
      await predictorFor(made, { form: "cubic" as "relu" }),
      FormatError,
      /predictor\.form is "cubic", known are linear and relu/,
    ],
    [
      await predictorFor(made, { thresholds: [1] }),
      FormatError,
      /thresholds has 1 numbers, the model 2 layers/,
    ],
    [
      await one([hiddenSize, 8], [9, feedForwardSize]),
      FormatError,
      /layer 0 has fc1 \[64, 8\] and fc2 \[9, 96\]/,
    ],
    [
      await one([hiddenSize, 8], [8, 5]),
      FormatError,
      /the model needs \[64, rank\] and \[rank, 96\]/,
    ],
  ];
  for (const [bytes, type, message] of refused) {
    await assert.rejects(
      run(made, { sparsity: predictor, predictor: bytes }),
      (error: Error) => {
        assert(error instanceof type, `${error}`);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
    );
  }
  await assert.rejects(
    run(made, { sparsity: { mode: "exact" }, predictor: file }),
    /sparsity exact: it needs sparsity predictor/,
  );
  const swiglu = await randomModel({ architecture: "llama", predictorRank: 8 });
  await assert.rejects(
    run(swiglu, { sparsity: predictor }),
    /activation swiglu are never zero/,
  );
});
