import assert from "node:assert/strict";
import { load, type Sparsity } from "../../../mod.ts";
import type { Engine, SequenceOptions } from "../../../src/engine/engine.ts";
import { countDecoding } from "../../../src/lab/sparsity/decoding.ts";
import {
  estimateDivergence,
  klDivergence,
  scoreDivergence,
  sumSelections,
} from "../../../src/lab/sparsity/divergence.ts";
import { packedKind, packedRowBytes } from "../../../src/kernels/packing.ts";
import { totalOf } from "../../../src/places/stats.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../../helpers/random_model.ts";
import { referenceEngine } from "./reference.ts";

const ids = Int32Array.from(
  [5, 1, 77, 9, 40, 3, 21, 8, 30, 2, 64, 11, 90, 33, 6, 52, 71],
);

/** Probabilities of what comes behind each token of the second half. */
async function naiveShares(engine: Engine): Promise<number[][]> {
  using sequence = engine.createSequence();
  const rows: number[][] = [];
  for (const id of ids.slice(0, -1)) {
    const [row] = await engine.evaluate(sequence, [id]);
    const weights = Array.from(row, Math.exp);
    const sum = weights.reduce((a, b) => a + b);
    rows.push(weights.map((weight) => weight / sum));
  }
  return rows.slice(ids.length >> 1);
}

const kinds: [string, RandomModelOptions][] = [
  ["dense", { downByNeuron: true, predictorRank: 8 }],
  ["mixture of experts", {
    architecture: "turbosparsemixtral",
    expertCount: 4,
    feedForwardSize: 40,
    predictorRank: 8,
    downByNeuron: true,
  }],
];
const modes: [Sparsity, SequenceOptions, SequenceOptions, Sparsity][] = [
  [
    { mode: "top-k", share: 1 },
    { keep: 1 },
    { keep: 0.1 },
    { mode: "top-k", share: 0.1 },
  ],
  [
    { mode: "threshold", value: 0 },
    { threshold: 0 },
    { threshold: 0.2 },
    { mode: "threshold", value: 0.2 },
  ],
  [
    { mode: "predictor" },
    { threshold: -1e30 },
    { threshold: 0.3 },
    { mode: "predictor", threshold: 0.3 },
  ],
];

for (const [kind, options] of kinds) {
  for (const [loaded, dense, few, alone] of modes) {
    Deno.test(`divergence and loss of a ${kind} are those of the reference place's probabilities: ${loaded.mode}`, async () => {
      const made = await randomModel(options);
      await using base = await referenceEngine(made, { mode: "dense" });
      await using own = await referenceEngine(made, alone);
      const p = await naiveShares(base), q = await naiveShares(own);
      const kl = p.map((row, t) =>
        row.reduce((sum, x, i) => sum + x * Math.log(x / q[t][i]), 0)
      );
      const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
      const half = ids.length >> 1;
      const nll = sum(q.map((row, t) => -Math.log(row[ids[half + 1 + t]])));
      const best = (row: number[]) => row.indexOf(Math.max(...row));

      await using model = await load(made.bytes, {
        threads: 2,
        cacheType: "f32",
        sparsity: loaded,
        measureRecall: loaded.mode === "predictor",
      });
      const [whole, sparse] = await scoreDivergence(model.engine, ids, [
        dense,
        few,
      ]);
      const near = (actual: number, expected: number) =>
        assert.ok(
          Math.abs(actual - expected) < 1e-4 * Math.abs(expected),
          `${actual}, not ${expected}`,
        );
      assert.equal(whole.divergence, 0);
      assert.equal(whole.sameTop, p.length);
      near(sparse.divergence, sum(kl));
      near(sparse.divergenceSquares, sum(kl.map((x) => x * x)));
      near(sparse.nll, nll);
      assert.equal(
        sparse.sameTop,
        p.filter((row, t) => best(row) === best(q[t])).length,
      );
      const { divergence, divergenceError } = estimateDivergence([sparse]);
      const mean = sum(kl) / kl.length;
      near(divergence, mean);
      near(
        divergenceError,
        Math.sqrt(
          sum(kl.map((x) => (x - mean) ** 2)) / kl.length / (kl.length - 1),
        ),
      );
      // What the reference place selected of all tokens but the last.
      const { layers } = own.stats();
      sumSelections([sparse.predicted]).forEach((layer, i) => {
        assert.equal(layer.predicted, layers[i].predicted);
        if (loaded.mode === "predictor") {
          assert.equal(layer.truth, layers[i].truth);
          assert.equal(layer.recalled, layers[i].recalled);
        }
      });
      assert.equal(model.engine.pagesTaken, 0);
    });
  }

  Deno.test(`bytes of a token of a ${kind} are those of dense but for the rows that are skipped`, async () => {
    const made = await randomModel({ ...options, type: "F16" });
    const rowBytes = packedRowBytes(packedKind.f16, made.model.hiddenSize);
    await using reference = await referenceEngine(made, { mode: "exact" });
    const list = [...ids];
    await countDecoding(reference, list);
    const counted = async (sparsity: Sparsity) => {
      await using model = await load(made.bytes, {
        threads: 1,
        hotShare: 0,
        cacheType: "f32",
        sparsity,
      });
      return await countDecoding(model.engine, list);
    };
    const dense = await counted({ mode: "dense" });
    const exact = await counted({ mode: "exact" });
    const stats = reference.stats();
    const [neurons, positive, active] = (
      ["neurons", "gatePositive", "active"] as const
    ).map((name) => totalOf(stats, name));
    assert.deepEqual([dense.tokens, dense.neurons], [ids.length, neurons]);
    assert.equal(exact.downRows, active);
    const skipped = (neurons - positive) + (dense.downRows - active);
    assert.equal(dense.bytes - exact.bytes, skipped * rowBytes);
  });
}

Deno.test("the divergence of rows: by hand, of what is ruled out, of itself", () => {
  const p = Float32Array.of(0, 0), q = Float32Array.of(Math.log(3), 0);
  assert.ok(
    Math.abs(klDivergence(p, q) - (Math.log(2) - Math.log(3) / 2)) < 1e-7,
  );
  const half = Float32Array.of(1, -Infinity);
  assert.ok(Math.abs(klDivergence(half, p) - Math.log(2)) < 1e-7);
  assert.equal(klDivergence(p, half), Infinity);
  assert.equal(klDivergence(half, half), 0);
});
