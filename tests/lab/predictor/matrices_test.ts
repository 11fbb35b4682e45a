/** Dense products and small symmetric matrices, beside the plain sums that define them. */
import assert from "node:assert/strict";
import { loadKernels } from "../../../src/kernels/kernels.ts";
import { instantiate, WasmMemory } from "../../../src/kernels/memory.ts";
import { Dense } from "../../../src/lab/predictor/dense.ts";
import {
  eigenOf,
  inverseCholesky,
} from "../../../src/lab/predictor/symmetric.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";

const memory = new WasmMemory(instantiate((await loadKernels()).module));

function random(rows: number, columns: number, seed: number): Dense {
  const made = new Dense(memory, rows, columns);
  for (let i = 0; i < rows; i++) {
    made.row(i).set(gaussianVector(columns, 100 * seed + i));
  }
  return made;
}

function close(actual: number, expected: number, limit = 1e-4): void {
  assert(Math.abs(actual - expected) < limit, `${actual}, not ${expected}`);
}

Deno.test("products with a matrix and with its transpose are the sums that define them", () => {
  for (const [rows, columns, n] of [[5, 3, 1], [64, 40, 7], [131, 33, 18]]) {
    const a = random(rows, columns, 1);
    const x = random(n, columns, 2), h = random(n, rows, 3);
    const ax = a.times(x, new Dense(memory, n, rows));
    // What stood there before must not count.
    const ah = a.transposedTimes(h, random(n, columns, 4));
    for (let t = 0; t < n; t++) {
      for (let i = 0; i < rows; i++) {
        const row = a.row(i);
        const sum = x.row(t).reduce((sum, value, j) => sum + value * row[j], 0);
        close(ax.row(t)[i], sum);
      }
      for (let j = 0; j < columns; j++) {
        const sum = h.row(t).reduce((sum, v, i) => sum + v * a.row(i)[j], 0);
        close(ah.row(t)[j], sum);
      }
    }
  }
});

Deno.test("combine and copy work element by element", () => {
  const a = random(3, 5, 1), b = random(3, 5, 2), c = new Dense(memory, 3, 5);
  c.copy(a);
  c.combine(2, -3, b);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 5; j++) {
      close(c.row(i)[j], 2 * a.row(i)[j] - 3 * b.row(i)[j], 1e-5);
    }
  }
});

/** A·Aᵀ of a random A, `[n, inner]`. */
function symmetric(n: number, inner: number, seed: number): Float64Array {
  const rows = Array.from(
    { length: n },
    (_, i) => gaussianVector(inner, 100 * seed + i),
  );
  return Float64Array.from(
    { length: n * n },
    (_, at) =>
      rows[Math.floor(at / n)].reduce((s, v, k) => s + v * rows[at % n][k], 0),
  );
}

Deno.test("the inverse Cholesky factor makes the identity of its matrix", () => {
  for (const n of [1, 2, 9, 30]) {
    const S = symmetric(n, 2 * n, n), L = inverseCholesky(S, n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < n; k++) {
          for (let l = 0; l < n; l++) {
            sum += L[i * n + k] * S[k * n + l] * L[j * n + l];
          }
        }
        close(sum, i === j ? 1 : 0, 1e-8);
        if (j > i) assert.equal(L[i * n + j], 0);
      }
    }
  }
  const singular = inverseCholesky(symmetric(6, 2, 1), 6);
  assert(singular.every(Number.isFinite));
  assert(inverseCholesky(new Float64Array(9), 3).every(Number.isFinite));
});

Deno.test("eigenvectors are orthonormal, what they are multiplied by their values, largest first", () => {
  for (const n of [1, 2, 7, 40]) {
    const S = symmetric(n, n + 3, n);
    const { values, vectors } = eigenOf(S, n);
    const size = Math.max(...values);
    for (let i = 0; i < n; i++) {
      const v = vectors.subarray(i * n, (i + 1) * n);
      if (i > 0) assert(values[i] <= values[i - 1]);
      for (let j = 0; j < n; j++) {
        const w = vectors.subarray(j * n, (j + 1) * n);
        close(v.reduce((s, x, k) => s + x * w[k], 0), i === j ? 1 : 0, 1e-8);
        const image = v.reduce((s, x, k) => s + S[j * n + k] * x, 0);
        close(image / size, values[i] * v[j] / size, 1e-7);
      }
    }
  }
});
