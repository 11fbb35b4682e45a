/** The low-rank map beside the best one there is, which small matrices allow to compute straight away. */
import assert from "node:assert/strict";
import { loadKernels } from "../../../src/kernels/kernels.ts";
import { instantiate, WasmMemory } from "../../../src/kernels/memory.ts";
import { Dense } from "../../../src/lab/predictor/dense.ts";
import { LowRank } from "../../../src/lab/predictor/low_rank.ts";
import { eigenOf } from "../../../src/lab/predictor/symmetric.ts";
import { Random } from "../../../src/random.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";

const { module } = await loadKernels();
const outputs = 70, inputs = 40, tokens = 300;

/** S, and inputs whose directions matter unequally. */
function problem(memory: WasmMemory): { S: Dense; x: Dense } {
  const S = new Dense(memory, outputs, inputs);
  const x = new Dense(memory, tokens, inputs);
  for (let i = 0; i < outputs; i++) S.row(i).set(gaussianVector(inputs, i));
  for (let t = 0; t < tokens; t++) {
    const state = gaussianVector(inputs, 1000 + t);
    x.row(t).set(state.map((value, i) => value * 3 / (1 + i) + 0.2));
  }
  return { S, x };
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Σ of the squares of all S·x, and the least that a map of each rank leaves of it. */
function bestErrors({ S, x }: { S: Dense; x: Dense }) {
  const images = Array.from(
    { length: tokens },
    (_, t) =>
      Float64Array.from({ length: outputs }, (_, j) => dot(S.row(j), x.row(t))),
  );
  const gram = new Float64Array(outputs * outputs);
  for (const y of images) {
    for (let i = 0; i < outputs; i++) {
      for (let j = 0; j < outputs; j++) gram[i * outputs + j] += y[i] * y[j];
    }
  }
  const { values } = eigenOf(gram, outputs);
  const left = (rank: number) =>
    values.slice(rank).reduce((sum, value) => sum + Math.max(value, 0), 0);
  return { images, left };
}

for (const rank of [1, 4, 12, 30, 40]) {
  Deno.test(`of rank ${rank}, the map is as near as the best one`, async () => {
    const memory = new WasmMemory(instantiate(module));
    const given = problem(memory);
    const { images, left } = bestErrors(given);
    const { project, rows } = await factorised(memory, given, rank);
    let error = 0;
    const moments = new Float64Array(rank * rank);
    images.forEach((y, t) => {
      const state = given.x.row(t);
      const z = Array.from(
        { length: rank },
        (_, k) => dot(project.row(k), state),
      );
      for (let j = 0; j < outputs; j++) {
        const approximate = z.reduce(
          (sum, v, k) => sum + v * rows.row(k)[j],
          0,
        );
        error += (approximate - y[j]) ** 2;
      }
      for (let k = 0; k < rank; k++) {
        for (let l = 0; l < rank; l++) moments[k * rank + l] += z[k] * z[l];
      }
    });
    const total = left(0);
    assert(
      error < 1.05 * left(rank) + 1e-6 * total,
      `${error / total} of all is left, the least is ${left(rank) / total}`,
    );
    // But for the ridge, z has a mean square of 1, and no two go together.
    for (let k = 0; k < Math.min(rank, 4); k++) {
      for (let l = 0; l <= k; l++) {
        const moment = moments[k * rank + l] / tokens;
        assert(Math.abs(moment - Number(k === l)) < 0.15, `${moment}`);
      }
    }
  });
}

async function factorised(
  memory: WasmMemory,
  { S, x }: { S: Dense; x: Dense },
  rank: number,
): Promise<LowRank> {
  const lowRank = new LowRank(memory, S, x, rank);
  await lowRank.factorise(new Random(1), () => Promise.resolve());
  return lowRank;
}

Deno.test("maps that say nothing give no NaN", async () => {
  const memory = new WasmMemory(instantiate(module));
  const S = new Dense(memory, 8, 6), x = new Dense(memory, 9, 6);
  const check = async () => {
    const { project, rows } = await factorised(memory, { S, x }, 3);
    for (let k = 0; k < 3; k++) {
      assert(project.row(k).every(Number.isFinite), "project is finite");
      assert(rows.row(k).every(Number.isFinite), "rows are finite");
    }
  };
  await check();
  S.row(2).fill(1);
  await check();
  x.row(4).fill(2);
  await check();
});
