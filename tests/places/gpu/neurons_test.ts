/** The kernels around the products, against scalar twins. */
import assert from "node:assert/strict";
import { type GgmlType, ggmlTypes } from "../../../src/formats/ggml/types.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { Down } from "../../../src/places/gpu/run/feed_forward.ts";
import {
  addPartials,
  addPartialsGrid,
  embed,
  embedGrid,
} from "../../../src/places/gpu/kernels/residual.ts";
import {
  keepAbove,
  keepAboveGrid,
  stretchesFor,
} from "../../../src/places/gpu/kernels/neurons.ts";
import { stepWords } from "../../../src/places/gpu/kernels/step_words.ts";
import { Bench, stepOf, weightsOf } from "./on_device.ts";

/** One of each layout. */
const types: GgmlType[] = [
  "F32",
  "F16",
  "Q4_0",
  "Q4_1",
  "Q8_0",
  "Q4_K",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "MXFP4",
  "IQ3_XXS",
  "Q5_K",
];

for (const type of types) {
  const columns = ggmlTypes[type].blockSize === 1 ? 300 : 512;
  testWithAdapter(`${type}: rows of neurons that are not zero`, async (t) => {
    for (const tokens of [1, 3, 37]) {
      await t.step(`${tokens} tokens`, async () => {
        const stretches = stretchesFor(tokens);
        using bench = await Bench.open(stepOf(tokens, { stretches }));
        // More than are listed at once; the second piece begins in the middle.
        const neurons = tokens === 1 ? 2300 : 333, stride = 2304;
        const pieceRows = tokens === 1 ? 2100 : 200;
        const { matrix, rows } = weightsOf(bench, type, neurons, columns, {
          pieceRows,
        });
        assert.equal(matrix.pieces.length, 2);
        const h = gaussianVector(tokens * stride, 5);
        h.forEach((_, i) => {
          if (i % 7 !== 0 && i % 13 !== 0) h[i] = 0;
        });
        const hidden = 512;
        const before = gaussianVector(tokens * hidden, 6);
        const x = bench.buffer(before);
        const partials = bench.buffer(
          new Float32Array((1 + stretches) * tokens * hidden).fill(NaN),
        );
        const down = new Down(
          bench.context,
          matrix,
          { downByNeuron: true },
          { buffer: bench.buffer(h), stride },
          { buffer: x, stride: hidden, partials, stretchesWait: false },
        );
        const bytes = await bench.run(
          () => down.encode(tokens),
          tokens === 1 ? x : partials,
        );
        for (let t = 0; t < tokens; t++) {
          const actual = new Float64Array(columns);
          if (tokens === 1) {
            new Float32Array(bytes, 0, columns)
              .forEach((value, i) => actual[i] = value - before[i]);
          } else {
            for (let slot = 1; slot <= stretches; slot++) {
              const at = 4 * (slot * tokens + t) * hidden;
              new Float32Array(bytes, at, columns)
                .forEach((value, i) => actual[i] += value);
            }
          }
          const expected = new Float64Array(columns);
          for (let j = 0; j < neurons; j++) {
            const value = h[t * stride + j];
            for (let i = 0; i < columns; i++) {
              expected[i] += value * rows[j][i];
            }
          }
          expected.forEach((value, i) =>
            assert(
              Math.abs(actual[i] - value) < 2e-5,
              `${actual[i]} at ${i} of token ${t}, not ${value}`,
            )
          );
        }
        if (tokens > 1) {
          const upload = new Float32Array(bytes, 0, tokens * hidden);
          assert(upload.every(Number.isNaN));
        }
      });
    }
  });

  testWithAdapter(`${type}: rows of the embedding, and zeros`, async () => {
    const ids = [7, 3, 29, 12, 30, 2];
    const step = stepOf(ids.length);
    ids.forEach((id, t) =>
      step[
        stepWords.header_words + t * stepWords.record_angles +
        stepWords.record_id
      ] = id
    );
    using bench = await Bench.open(step);
    const first = 3, stride = 512, scale = 4;
    const { matrix, rows } = weightsOf(bench, type, 27, columns, {
      pieceRows: 10,
    });
    const x = bench.buffer(new Float32Array(ids.length * stride).fill(5));
    const bytes = await bench.run(() => {
      for (const piece of matrix.pieces) {
        const { pipelines, uniforms, step } = bench.context;
        const kernel = embed(matrix.type);
        const params = uniforms.add(kernel, {
          first: first + piece.first,
          rows: piece.rows,
          groups: matrix.groups,
          x_stride: stride / 4,
          scale,
        });
        bench.commands.dispatch(
          pipelines.get(kernel, { clears: piece.first === 0 }),
          pipelines.bind(kernel, { step, params, matrix: piece.buffer, x }),
          embedGrid(stride, ids.length),
        );
      }
    }, x);
    ids.forEach((id, t) => {
      const expected = rows[id - first] ?? new Float32Array(columns);
      const actual = new Float32Array(bytes, 4 * t * stride, columns);
      const plain = (row: Float32Array, factor: number) =>
        [...row].map((value) => factor * value + 0);
      assert.deepEqual(plain(actual, 1), plain(expected, scale));
    });
  });
}

testWithAdapter(
  "more neurons than are read at once, and fire than are listed",
  async () => {
    using bench = await Bench.open(stepOf(1, { stretches: stretchesFor(1) }));
    const neurons = 17_000, columns = 64;
    const { matrix, rows } = weightsOf(bench, "Q4_0", neurons, columns);
    const h = gaussianVector(neurons, 5);
    // All of the first ones fire, then few, then some behind the first stretch.
    h.forEach((_, i) => {
      if (i > 5000 && i % 97 !== 0 && i < 16_900) h[i] = 0;
    });
    const x = bench.buffer(new Float32Array(256));
    const down = new Down(
      bench.context,
      matrix,
      { downByNeuron: true },
      { buffer: bench.buffer(h), stride: neurons },
      { buffer: x, stride: 256, partials: x, stretchesWait: false },
    );
    const bytes = await bench.run(() => down.encode(1), x);
    const actual = new Float32Array(bytes, 0, columns);
    for (let i = 0; i < columns; i++) {
      const terms = rows.map((row, j) => h[j] * row[i]);
      const expected = terms.reduce((sum, term) => sum + term, 0);
      const error = Math.abs(actual[i] - expected);
      assert(
        error < 1e-6 * Math.hypot(...terms) * 100,
        `column ${i}: ${error}`,
      );
    }
  },
);

testWithAdapter("slots are added to x, each once", async () => {
  const tokens = 3, stretches = 4, stride = 256;
  using bench = await Bench.open(stepOf(tokens, { stretches }));
  const length = tokens * stride;
  const slots = gaussianVector((1 + stretches) * length, 1);
  const before = gaussianVector(length, 2);
  const { pipelines, uniforms, step } = bench.context;
  const partials = bench.buffer(slots);
  for (const [upload, stretch] of [[1, 0], [0, 1], [1, 1]]) {
    const x = bench.buffer(before);
    const bytes = await bench.run(() =>
      bench.commands.dispatch(
        pipelines.get(addPartials, {
          with_upload: upload === 1,
          with_stretches: stretch === 1,
        }),
        pipelines.bind(addPartials, {
          step,
          params: uniforms.add(addPartials, { stride: stride / 4 }),
          partials,
          x,
        }),
        addPartialsGrid(length),
      ), x);
    new Float32Array(bytes).forEach((value, i) => {
      let expected = before[i];
      for (let slot = 0; slot <= stretches; slot++) {
        if (slot === 0 ? upload : stretch) expected += slots[slot * length + i];
      }
      assert(Math.abs(value - expected) < 1e-5);
    });
  }
});

testWithAdapter(
  "what is not above a token's threshold becomes zero",
  async () => {
    const tokens = 3, stride = 256, length = 201;
    using bench = await Bench.open(stepOf(tokens));
    const before = gaussianVector(tokens * stride, 2);
    before[5] = -0.5;
    const thresholds = Float32Array.of(0.5, -1, 2);
    const h = bench.buffer(before);
    const { pipelines, uniforms, step } = bench.context;
    const bytes = await bench.run(() =>
      bench.commands.dispatch(
        pipelines.get(keepAbove),
        pipelines.bind(keepAbove, {
          step,
          params: uniforms.add(keepAbove, { length, stride, slots: 1 }),
          thresholds: bench.buffer(thresholds),
          h,
        }),
        keepAboveGrid(length, tokens),
      ), h);
    new Float32Array(bytes).forEach((value, i) => {
      const isKept = i % stride >= length ||
        Math.abs(before[i]) > thresholds[Math.floor(i / stride)];
      assert.equal(value, isKept ? before[i] : 0);
    });
  },
);
