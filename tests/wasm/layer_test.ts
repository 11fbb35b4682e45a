/** The kernels around the products, against plain arithmetic in f64. */

import assert from "node:assert/strict";
import { gaussianVector } from "../helpers/seeded_random.ts";
import { builds, Instance } from "./instance.ts";

/** Asserts |actual - expected| <= tolerance (1 + |expected|), element by element. */
function near(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    const error = Math.abs(actual[i] - expected[i]);
    assert.ok(
      error <= tolerance * (1 + Math.abs(expected[i])),
      `element ${i}: ${actual[i]}, expected ${expected[i]}`,
    );
  }
}

for (const [build, module] of Object.entries(builds)) {
  const instance = new Instance(module);
  const { kernels } = instance;

  Deno.test(`${build}: exports are those of kernels.d.ts`, async () => {
    const types = await Deno.readTextFile(
      new URL("../../wasm/kernels.d.ts", import.meta.url),
    );
    const declared = [...types.matchAll(/^ {2}(\w+)\(([^)]*)\)/gm)].map((m) => {
      const parameters = m[2].split(",").filter((p) => p.trim() !== "");
      return `${m[1]}/${parameters.length}`;
    });
    const exported = Object.entries(kernels)
      .filter(([, value]) => typeof value === "function")
      .map(([name, value]) => `${name}/${value.length}`);
    assert.deepEqual(exported.sort(), declared.sort());
  });

  Deno.test(`${build}: rms_norm`, () => {
    for (const [k, n, gap] of [[1, 1, 7], [7, 2, 1], [64, 3, 0], [130, 1, 6]]) {
      instance.reset();
      const x = gaussianVector(n * k, k, 3);
      const weight = gaussianVector(k, k + 1);
      const out = instance.allocate(4 * n * (k + gap));
      const at = [instance.put(x), instance.put(weight)];
      kernels.rms_norm(at[0], k, at[1], n, k, 1e-5, out, k + gap);
      for (let t = 0; t < n; t++) {
        const row = [...x.subarray(t * k, (t + 1) * k)];
        const mean = row.reduce((sum, v) => sum + v * v, 0) / k;
        const expected = row.map((v, i) =>
          v / Math.sqrt(mean + 1e-5) * weight[i]
        );
        const actual = instance.floats(out + 4 * t * (k + gap), k + gap);
        near(actual, [...expected, ...new Array(gap).fill(0)], 1e-6);
      }
    }
  });

  Deno.test(`${build}: layer_norm`, () => {
    for (const [k, n, gap] of [[1, 1, 7], [7, 2, 1], [64, 3, 0], [130, 1, 6]]) {
      instance.reset();
      const x = gaussianVector(n * k, k, 3).map((v) => v + 5);
      const weight = gaussianVector(k, k + 1);
      const bias = gaussianVector(k, k + 2);
      const out = instance.allocate(4 * n * (k + gap));
      const [at, w, b] = [x, weight, bias].map((each) => instance.put(each));
      kernels.layer_norm(at, k, w, b, n, k, 1e-5, out, k + gap);
      for (let t = 0; t < n; t++) {
        const row = [...x.subarray(t * k, (t + 1) * k)];
        const mean = row.reduce((sum, v) => sum + v, 0) / k;
        const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / k;
        const expected = row.map((v, i) =>
          (v - mean) / Math.sqrt(variance + 1e-5) * weight[i] + bias[i]
        );
        const actual = instance.floats(out + 4 * t * (k + gap), k + gap);
        near(actual, [...expected, ...new Array(gap).fill(0)], 1e-6);
      }
    }
  });

  Deno.test(`${build}: rope rotates interleaved pairs`, () => {
    for (
      const [heads, dim, rotated] of [[1, 2, 2], [3, 10, 6], [2, 64, 64], [
        2,
        8,
        0,
      ]]
    ) {
      instance.reset();
      const x = gaussianVector(heads * dim, dim);
      const angles = gaussianVector(rotated / 2, dim + 1);
      const cosSin = Float32Array.from(
        { length: rotated },
        (_, i) => i % 2 ? Math.sin(angles[i >> 1]) : Math.cos(angles[i >> 1]),
      );
      const at = instance.put(x);
      kernels.rope(at, heads, dim, rotated, instance.put(cosSin));
      const expected = [...x];
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < rotated; i += 2) {
          const [a, b] = [x[h * dim + i], x[h * dim + i + 1]];
          const [cos, sin] = [cosSin[i], cosSin[i + 1]];
          expected[h * dim + i] = a * cos - b * sin;
          expected[h * dim + i + 1] = a * sin + b * cos;
        }
      }
      near(instance.floats(at, x.length), expected, 1e-6);
    }
  });

  Deno.test(`${build}: gated activations and what is not zero`, () => {
    const relu = (v: number) => Math.max(v, 0);
    const acts = [
      (g: number, u: number) => relu(g) * relu(u),
      (g: number, u: number) => relu(g) * u,
      (g: number, u: number) => g / (1 + Math.exp(-g)) * u,
      (g: number, u: number) => relu(g) ** 2 * u,
      (g: number, u: number) =>
        0.5 * g * u *
        (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3))),
    ];
    for (const n of [0, 1, 3, 4, 130]) {
      for (const [act, f] of acts.entries()) {
        instance.reset();
        const g = gaussianVector(n, n, 9);
        const u = gaussianVector(n, n + 1, 4);
        if (n > 2) g.set([120, -120]);
        const [at, up] = [instance.put(g), instance.put(u)];
        const out = instance.allocate(4 * n);
        const count = kernels.gated(act, at, up, out, n);
        const expected = [...g].map((v, i) => f(v, u[i]));
        const actual = instance.floats(out, n);
        near(actual, expected, 1e-6);
        assert.equal(count, actual.filter((v) => v !== 0).length);
        const alone = kernels.ungated(act, at, out, n);
        const without = instance.floats(out, n);
        near(without, [...g].map((v) => f(v, 1)), 1e-6);
        assert.equal(alone, without.filter((v) => v !== 0).length);
      }
    }
  });

  Deno.test(`${build}: selections, cuts and sums`, () => {
    for (const n of [0, 1, 2, 5, 64, 131]) {
      instance.reset();
      const x = gaussianVector(n, n);
      if (n > 4) x.set([0, -0, NaN, 0.5]);
      const at = instance.put(x);
      const ids = instance.allocate(4 * n);
      const read = (count: number) => [...instance.words(ids, count)];
      const where = (f: (v: number) => boolean) =>
        [...x.keys()].filter((i) => f(x[i]));
      assert.deepEqual(
        read(kernels.select_positive(at, n, ids)),
        where((v) => v > 0),
      );
      assert.equal(
        kernels.count_positive(at, n),
        x.filter((v) => v > 0).length,
      );
      assert.deepEqual(
        read(kernels.select_at_least(at, n, 0.5, ids)),
        where((v) => v >= 0.5),
      );

      const y = gaussianVector(n, n + 1);
      const sum = instance.put(x);
      kernels.add(sum, instance.put(y), n);
      assert.deepEqual(instance.floats(sum, n), x.map((v, i) => v + y[i]));

      const scaled = instance.put(y);
      kernels.scale(scaled, n, 0.3);
      const factor = Math.fround(0.3);
      assert.deepEqual(instance.floats(scaled, n), y.map((v) => v * factor));
      const capped = instance.put(y.map((v) => 9 * v));
      kernels.soft_cap(capped, n, 4);
      near(
        instance.floats(capped, n),
        [...y].map((v) => 4 * Math.tanh(Math.fround(9 * v) / 4)),
        2e-6,
      );

      for (const threshold of [-1, 0, 0.5]) {
        const cut = instance.put(x);
        const kept = kernels.keep_above(cut, n, threshold);
        assert.equal(kept, where((v) => Math.abs(v) > threshold).length);
        assert.deepEqual(
          instance.floats(cut, n).map((v) => v + 0),
          x.map((v) => Math.abs(v) > threshold ? v + 0 : 0),
        );
      }

      const positive = instance.put(y);
      kernels.relu(positive, n);
      assert.deepEqual(
        instance.floats(positive, n).map((v) => v + 0),
        y.map((v) => Math.max(v, 0)),
      );

      const words = Uint32Array.from(
        { length: 16 * n },
        (_, i) => i * 0x9e3779b1,
      );
      const total = words.reduce((s, w) => (s + w) | 0, 0);
      assert.equal(kernels.read_bytes(instance.put(words), 64 * n), total);
    }
  });
}
