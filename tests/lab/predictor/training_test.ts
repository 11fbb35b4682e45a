/** Training's kernels and gradients, beside what their definition gives. */
import assert from "node:assert/strict";
import { loadKernels } from "../../../src/kernels/kernels.ts";
import { instantiate, WasmMemory } from "../../../src/kernels/memory.ts";
import { Dense } from "../../../src/lab/predictor/dense.ts";
import { Samples } from "../../../src/lab/predictor/layer_samples.ts";
import type { Network } from "../../../src/lab/predictor/stored.ts";
import { batchSize, Trainer } from "../../../src/lab/predictor/training.ts";
import { Random } from "../../../src/random.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";

const { module } = await loadKernels();

function near(actual: number, expected: number, limit = 1e-5): void {
  const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
  assert(error < limit, `${actual}, not ${expected}`);
}

Deno.test("the gradient of cross-entropy is sigmoid less the label, hits weighed", () => {
  const memory = new WasmMemory(instantiate(module));
  const logits = [-100, -7.5, -1, 0, 0.3, 2, 30, 100, 0.7];
  for (let n = 0; n <= logits.length; n++) {
    const x = memory.allocate(4 * (n + 1)), hits = memory.allocate(n);
    const values = memory.f32(x, n + 1);
    for (const hit of [0, 1, 255]) {
      values.set([...logits.slice(0, n), 5]);
      memory.bytes.fill(hit, hits, hits + n);
      memory.kernels.cross_entropy_gradient(x, hits, n, 3);
      for (let i = 0; i < n; i++) {
        const sigmoid = 1 / (1 + Math.exp(-logits[i]));
        near(values[i], hit ? 3 * (sigmoid - 1) : sigmoid, 1e-6);
      }
      assert.equal(values[n], 5);
    }
  }
});

Deno.test("a step of Adam is what its authors wrote", () => {
  const memory = new WasmMemory(instantiate(module));
  for (const n of [0, 3, 4, 11]) {
    const [w, g, m, v] = Array.from(
      { length: 4 },
      () => memory.allocate(4 * (n + 1)),
    );
    const vectors = [w, g, m, v].map((pointer, i) => {
      const values = memory.f32(pointer, n + 1);
      values.set(gaussianVector(n + 1, i + 1));
      if (i === 3) values.forEach((each, j) => values[j] = each ** 2);
      return values;
    });
    const before = vectors.map((values) => values.slice());
    memory.kernels.adam(w, g, m, v, n, 0.01, 0.9, 0.99, 1e-3);
    for (let i = 0; i < n; i++) {
      const [weight, gradient, mean, square] = before.map((each) => each[i]);
      const newMean = 0.9 * mean + 0.1 * gradient;
      const newSquare = 0.99 * square + 0.01 * gradient ** 2;
      near(vectors[2][i], newMean);
      near(vectors[3][i], newSquare);
      const step = 0.01 * newMean / (Math.sqrt(newSquare) + 1e-3);
      near(vectors[0][i], weight - step);
    }
    vectors.forEach((values, i) => assert.equal(values[n], before[i][n]));
  }
});

Deno.test("memory that is taken back is zero when it is given again", () => {
  const memory = new WasmMemory(instantiate(module));
  const { top } = memory;
  const first = new Dense(memory, 9, 9);
  first.row(8).fill(1);
  memory.rewind(top);
  const second = new Dense(memory, 9, 9);
  assert.equal(second.pointer, first.pointer);
  assert.deepEqual(second.row(8), new Float32Array(9));
});

const inputs = 6, rank = 5, outputs = 7, weight = 4;

/** Random inputs, and neurons that fire where a linear map says so. */
function labelled(memory: WasmMemory, count: number, seed = 100): Samples {
  const samples = new Samples(memory, count, inputs, outputs);
  const map = Array.from(
    { length: outputs },
    (_, j) => gaussianVector(inputs, 900 + j),
  );
  for (let t = 0; t < count; t++) {
    const x = gaussianVector(inputs, seed + t);
    samples.x.row(t).set(x);
    map.forEach((row, j) => {
      const score = row.reduce((sum, value, i) => sum + value * x[i], -1);
      samples.firesAt(t)[j] = score > 0 ? 1 : 0;
    });
  }
  return samples;
}

function begin({ fc1, fc2 }: Network): void {
  for (let k = 0; k < rank; k++) fc1.row(k).set(gaussianVector(inputs, 50 + k));
  for (let j = 0; j < outputs; j++) {
    fc2.row(j).set(gaussianVector(rank, 70 + j));
  }
}

/** The loss in plain sums, f64. */
function lossOf({ fc1, fc2 }: Network, samples: Samples): number {
  const times = (matrix: Dense, x: ArrayLike<number>) =>
    Array.from(
      { length: matrix.rows },
      (_, i) => matrix.row(i).reduce((sum, value, j) => sum + value * x[j], 0),
    );
  let loss = 0;
  for (let t = 0; t < samples.x.rows; t++) {
    const z = times(fc1, samples.x.row(t)).map((value) => Math.max(value, 0));
    times(fc2, z).forEach((logit, j) =>
      loss += samples.firesAt(t)[j]
        ? weight * Math.log1p(Math.exp(-logit))
        : Math.log1p(Math.exp(logit))
    );
  }
  return loss;
}

Deno.test("gradients are the slopes of the loss", () => {
  const memory = new WasmMemory(instantiate(module));
  const samples = labelled(memory, batchSize);
  const trainer = new Trainer(memory, inputs, rank, outputs);
  begin(trainer.network);
  const all = Uint32Array.from({ length: batchSize }, (_, t) => t);
  const gradients = trainer.gradients(samples, all, weight);
  for (const name of ["fc1", "fc2"] as const) {
    const matrix = trainer.network[name];
    for (let i = 0; i < matrix.rows; i++) {
      for (let j = 0; j < matrix.columns; j++) {
        const at = matrix.row(i), value = at[j], h = 1e-3;
        at[j] = value + h;
        const above = at[j], more = lossOf(trainer.network, samples);
        at[j] = value - h;
        const below = at[j], less = lossOf(trainer.network, samples);
        at[j] = value;
        // The steps are small, but a ReLU may bend between the two.
        near(gradients[name].row(i)[j], (more - less) / (above - below), 0.02);
      }
    }
  }
});

Deno.test("training lowers the loss on other samples, and the same seed trains the same network", async () => {
  const run = async () => {
    const memory = new WasmMemory(instantiate(module));
    const samples = labelled(memory, 512 + 40);
    const trainer = new Trainer(memory, inputs, rank, outputs);
    begin(trainer.network);
    const others = labelled(memory, 300, 5000);
    const before = lossOf(trainer.network, others);
    const rates = { fc1: 0.02, fc2: 0.02 };
    const steps: number[] = [];
    for (const asStored of [false, true]) {
      await trainer.train(
        samples,
        { epochs: 20, rates, weight, asStored },
        new Random(3),
        (done) => Promise.resolve(void steps.push(done)),
      );
    }
    // 40 samples fill no batch.
    assert.equal(steps.length, 2 * 20 * 8);
    assert.equal(steps.at(-1), 1);
    const after = lossOf(trainer.network, others);
    assert(after < before / 4, `${after} of ${before}`);
    return [trainer.network.fc1.row(2), trainer.network.fc2.row(3)];
  };
  assert.deepEqual(await run(), await run());
});
