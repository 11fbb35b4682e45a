/** Trained predictors of random models, beside what their definition gives. */
import assert from "node:assert/strict";
import {
  type MadeLayer,
  makePredictor,
  type PredictorToWrite,
  type States,
} from "../../../lab.ts";
import type { Model } from "../../../gguf.ts";
import type { ByteSource } from "../../../src/bytes/byte_source.ts";
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import type { TensorInfo } from "../../../src/formats/gguf/read.ts";
import type { StoredTensor } from "../../../src/lab/predictor/stored.ts";
import { randomModel } from "../../helpers/random_model.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";

const hiddenSize = 64, tokens = 400, held = tokens / 8;
const training = { examples: 2048, epochs: 5 };

/** Inputs along few directions, around a mean: as residuals lie. */
function statesOf({ layers }: Model): States {
  const basis = Array.from(
    { length: 9 },
    (_, k) => gaussianVector(hiddenSize, 7 + k),
  );
  return {
    tokens,
    layers: layers.map((_, layer) => {
      const values = new Float32Array(tokens * hiddenSize);
      for (let t = 0; t < tokens; t++) {
        const along = gaussianVector(9, 1000 * layer + t + 50);
        along[0] = 1.5;
        basis.forEach((row, k) =>
          row.forEach((value, i) =>
            values[t * hiddenSize + i] += along[k] * value / 3
          )
        );
      }
      return values;
    }),
  };
}

function multiply(matrix: Float32Array, x: Float32Array): Float32Array {
  return Float32Array.from({ length: matrix.length / x.length }, (_, i) => {
    let sum = 0;
    x.forEach((value, j) => sum += value * matrix[i * x.length + j]);
    return sum;
  });
}

async function weightsOf(
  source: ByteSource,
  { type, offset, byteLength, shape }: TensorInfo,
): Promise<Float32Array> {
  const values = new Float32Array(shape[0] * (shape[1] ?? 1));
  dequantise(type, await source.read(offset, byteLength), values);
  return values;
}

function stored({ tensors }: PredictorToWrite, name: string): Float32Array {
  const found = tensors.find((each) => each.name === name) as StoredTensor;
  const values = new Float32Array(found.shape[0] * found.shape[1]);
  dequantise(found.type, found.data, values);
  return values;
}

for (const architecture of ["bamboo", "llama"] as const) {
  Deno.test(`${architecture}: trained, it asks at 0 for the wanted share of the held-out tokens' firing neurons, of residuals of any size`, async () => {
    const { model, source } = await randomModel({
      architecture,
      magic: "PWRI",
      hiddenSize,
      headCount: 4,
      kvHeadCount: 4,
      feedForwardSize: 96,
      downByNeuron: true,
    });
    const states = statesOf(model);
    const recall = 0.9;
    const options = { rank: 32, recall, training };
    const made = await makePredictor(model, source, states, options);
    assert.equal(made.form, "relu");
    assert.deepEqual(made.thresholds, model.layers.map(() => 0));
    for (const [i, layer] of model.layers.entries()) {
      const [gate, up, norm] = await Promise.all(
        [layer.ffn_gate!, layer.ffn_up, layer.ffn_norm!].map((tensor) =>
          weightsOf(source, tensor)
        ),
      );
      const fc1 = stored(made, `blk.${i}.fc1.weight`);
      const fc2 = stored(made, `blk.${i}.fc2.weight`);
      let firing = 0, recalled = 0, asked = 0;
      for (let t = tokens - held; t < tokens; t++) {
        const x = states.layers[i].subarray(
          t * hiddenSize,
          (t + 1) * hiddenSize,
        );
        const g = multiply(gate, x), u = multiply(up, x);
        const residual = x.map((value, j) => value / norm[j] * (t % 7 + 0.1));
        const z = multiply(fc1, residual).map((value) => Math.max(value, 0));
        multiply(fc2, z).forEach((score, j) => {
          const fires = g[j] > 0 && (model.activation === "reglu" || u[j] > 0);
          if (score >= 0) asked++;
          if (!fires) return;
          firing++;
          if (score >= 0) recalled++;
        });
      }
      const reached = recalled / firing;
      assert(
        reached > recall - 0.02 && reached < recall + 0.02,
        `recall ${reached}`,
      );
      const share = asked / held / 96, least = recall * firing / held / 96;
      assert(share < 0.5 * (1 + least), `selects ${share}`);
    }
  });
}

Deno.test("a rank is chosen by layer, the same each time, also after an abort", async () => {
  const { model, source } = await randomModel({
    hiddenSize,
    feedForwardSize: 96,
  });
  const states = statesOf(model);
  const layers: MadeLayer[] = [];
  const run = async (signal?: AbortSignal, before: MadeLayer[] = []) => {
    const tried = new Set<string>();
    const made = await makePredictor(model, source, states, {
      recall: 0.9,
      signal,
      made: before,
      onLayer: (layer) => void layers.push(layer),
      training: {
        examples: 640,
        epochs: 2,
        onStep: (layer, rank) => tried.add(`${layer}: ${rank}`),
      },
    });
    return { made, tried };
  };
  const first = await run();
  // From 64, the width, on, more is not possible.
  assert(first.tried.has("0: 64") && first.tried.has("0: 32"));
  assert(!first.tried.has("0: 128"));
  for (const { shape } of first.made.tensors) {
    assert(shape.some((side) => side === 64 || side === 32));
  }
  assert.deepEqual(await run(), first);
  const controller = new AbortController();
  const stopped = run(controller.signal);
  controller.abort();
  await assert.rejects(stopped, { name: "AbortError" });
  const resumed = await run(undefined, layers.slice(0, 1));
  assert.deepEqual(resumed.made, first.made);
  assert(resumed.tried.size > 0 && !resumed.tried.has("0: 64"));
});

Deno.test("threads change nothing in a predictor, and layers come in their order", async () => {
  const { model, source } = await randomModel({
    hiddenSize,
    feedForwardSize: 96,
    layerCount: 3,
  });
  const states = statesOf(model);
  for (const each of [undefined, { examples: 640, epochs: 1 }]) {
    const run = async (threads?: number) => {
      const layers: MadeLayer[] = [], steps = new Set<number>();
      const training = each &&
        { ...each, onStep: (layer: number) => steps.add(layer) };
      const made = await makePredictor(model, source, states, {
        threads,
        training,
        onLayer: (layer, done) => {
          assert.equal(layers.push(layer), done);
        },
      });
      assert.deepEqual(layers.flatMap(({ tensors }) => tensors), made.tensors);
      return { made, steps: [...steps].sort() };
    };
    const expected = await run(0);
    assert.deepEqual(expected.steps, each ? [0, 1, 2] : []);
    for (const threads of [1, 2]) {
      assert.deepEqual(await run(threads), expected);
    }
  }
});

Deno.test("a file that cannot be read, and what is given on and fails, stop every thread", async () => {
  const { model, source } = await randomModel({ layerCount: 4 });
  const states = { ...statesOf(model) };
  const broken = {
    ...source,
    read: (offset: number, length: number) =>
      offset === model.layers[2].ffn_up.offset
        ? Promise.reject(new Error("gone"))
        : source.read(offset, length),
  };
  const full = () => Promise.reject(new Error("full"));
  for (const threads of [0, 2]) {
    await assert.rejects(
      makePredictor(model, broken, states, { threads }),
      /^Error: gone$/,
    );
    await assert.rejects(
      makePredictor(model, source, states, { threads, onLayer: full }),
      /^Error: full$/,
    );
  }
});

Deno.test("training that cannot be is refused with the numbers", async () => {
  const { model, source } = await randomModel();
  const refused: [object, RegExp][] = [
    [{ examples: 63 }, /on 63 examples: needs a whole number from 64 up/],
    [{ examples: 99.5 }, /on 99\.5 examples/],
    [{ epochs: 0 }, /for 0 epochs: needs a whole number from 1 up/],
  ];
  for (const [training, message] of refused) {
    await assert.rejects(
      makePredictor(model, source, statesOf(model), { training }),
      message,
    );
  }
});
