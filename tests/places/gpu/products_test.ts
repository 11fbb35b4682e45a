/**
 * The products against scalar twins: weights dequantised, sums in f64. Where
 * weights are integers, so are tokens' vectors, in blocks of 32.
 */
import assert from "node:assert/strict";
import { type Activation, isSparse } from "../../../src/model/activation.ts";
import { type GgmlType, ggmlTypes } from "../../../src/formats/ggml/types.ts";
import {
  Product,
  type ProductOptions,
} from "../../../src/places/gpu/run/product.ts";
import { areIntegers } from "../../../src/places/gpu/kernels/weights.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { Bench, pairOf, stepOf, type Weights, weightsOf } from "./on_device.ts";

const types: GgmlType[] = [
  "F32",
  "F16",
  "BF16",
  "Q4_0",
  "Q4_1",
  "Q5_0",
  "Q8_0",
  "Q3_K",
  "Q4_K",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "MXFP4",
  "TQ2_0",
  "IQ2_XS",
];
/** For each type, and for everything else. */
const someCounts = [1, 3, 37], tokenCounts = [1, 2, 3, 7, 37];
const stride = 1024;

/** Their weights are scale · q + minimum. */
const hasMinimum: GgmlType[] = [
  "Q4_1",
  "Q4_0",
  "Q4_K",
  "Q6_K",
  "TQ2_0",
];

/** Vectors of `columns` numbers, with zeros to the stride, as the place keeps them. */
function tokensOf(
  bench: Bench,
  tokens: number,
  columns: number,
): { rows: Float32Array[]; buffer: GPUBuffer } {
  const all = new Float32Array(tokens * stride);
  const rows = Array.from(
    { length: tokens },
    (_, t) => gaussianVector(columns, 50 + t),
  );
  rows.forEach((row, t) => all.set(row, t * stride));
  return { rows, buffer: bench.buffer(all) };
}

/** The same with numbers that kernels of integers read as they are: 64ths, the largest of each block 127. */
function wholeTokensOf(
  bench: Bench,
  tokens: number,
  columns: number,
): { rows: Float32Array[]; buffer: GPUBuffer } {
  const all = new Float32Array(tokens * stride);
  const rows = Array.from(
    { length: tokens },
    (_, t) =>
      gaussianVector(columns, 50 + t, 30).map((value, i) =>
        (i % 32 < 2 ? 127 : Math.max(-127, Math.min(Math.round(value), 127))) /
        64
      ),
  );
  rows.forEach((row, t) => all.set(row, t * stride));
  return { rows, buffer: bench.buffer(all) };
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** What products with a matrix read of `x`: integers times a block's scale, where its weights are integers. */
function readBy({ matrix }: Weights, x: Float32Array): ArrayLike<number> {
  if (!areIntegers([matrix.type])) return x;
  const read = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += 32) {
    const block = x.subarray(first, first + 32);
    const largest = Math.max(...block.map(Math.abs));
    const inverse = Math.fround(127 / largest);
    block.forEach((value, i) =>
      read[first + i] = largest / 127 *
        roundedToEven(Math.fround(inverse * value))
    );
  }
  return read;
}

function roundedToEven(value: number): number {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

function assertClose(
  actual: ArrayLike<number>,
  expected: number[],
  what: string,
): void {
  const size = Math.sqrt(
    expected.reduce((sum, v) => sum + v * v, 0) / expected.length,
  );
  expected.forEach((value, i) => {
    assert(
      Math.abs(actual[i] - value) <= 2e-6 * size * Math.sqrt(stride),
      `${what}: ${actual[i]} at ${i}, not ${value}`,
    );
  });
}

/** Runs one product, and gives its rows of results. */
async function product(
  bench: Bench,
  weights: Weights,
  x: GPUBuffer,
  tokens: number,
  results: number,
  options: Partial<ProductOptions> = {},
  before = new Float32Array(results * stride),
): Promise<Float32Array[]> {
  const out = { buffer: bench.buffer(before), stride };
  const made = new Product(bench.context, weights.matrix, {
    x: { buffer: x, stride },
    out,
    ...options,
  });
  const bytes = await bench.run(
    () => made.encode(tokens),
    out.buffer,
  );
  return Array.from(
    { length: results },
    (_, t) => new Float32Array(bytes, 4 * t * stride, stride),
  );
}

/** A test with a step for each number of tokens. */
function testByTokens(
  name: string,
  run: (tokens: number) => Promise<void>,
  counts = tokenCounts,
): void {
  testWithAdapter(name, async (t) => {
    for (const tokens of counts) {
      await t.step(`${tokens} tokens`, () => run(tokens));
    }
  });
}

for (const type of types) {
  const block = ggmlTypes[type].blockSize;
  const lengths = block === 1
    ? [10, 37, 300]
    : block === 32
    ? [32, 288]
    : [256, 768];
  testByTokens(`${type} times vectors`, async (tokens) => {
    using bench = await Bench.open(stepOf(tokens));
    for (const length of lengths) {
      for (const rows of [1, 70]) {
        const weights = weightsOf(bench, type, rows, length);
        const x = tokensOf(bench, tokens, length);
        const before = gaussianVector(tokens * stride, 3);
        const results = await product(
          bench,
          weights,
          x.buffer,
          tokens,
          tokens,
          { epilogue: "add", outFirst: 5 },
          before,
        );
        results.forEach((result, t) => {
          const old = before.subarray(t * stride, (t + 1) * stride);
          const expected = [...old];
          const read = readBy(weights, x.rows[t]);
          weights.rows.forEach((row, r) => expected[5 + r] += dot(row, read));
          assertClose(
            result,
            expected,
            `${rows} rows of ${length}, token ${t}`,
          );
        });
      }
    }
  }, someCounts);

  testWithAdapter(`columns of ${type} are kept exactly`, async () => {
    using bench = await Bench.open(stepOf(1));
    const length = 3 * 256;
    for (
      const runs of [[{ start: 256, end: 512 }], [{ start: 32, end: 64 }, {
        start: 256,
        end: 320,
      }, { start: 736, end: 768 }], [{ start: 3, end: 40 }, {
        start: 700,
        end: 701,
      }]]
    ) {
      const weights = weightsOf(bench, type, 9, length, { runs });
      const columns = weights.rows[0].length;
      // Single numbers in x read single weights; this one is an integer whose scale is 1.
      for (const column of [0, 1, columns - 1]) {
        const x = new Float32Array(stride);
        x[column] = 127;
        const [result] = await product(bench, weights, bench.buffer(x), 1, 1);
        weights.rows.forEach((row, r) => {
          const expected = Math.fround(127 * row[column]);
          // Where weights have a minimum, two products are added up.
          const size = 127 * Math.max(...row.map(Math.abs));
          const within = hasMinimum.includes(type) ? size * 2 ** -23 : 0;
          const error = Math.abs(result[r] - expected);
          assert(error <= within, `${result[r]}, not ${expected}`);
        });
      }
    }
  });
}

const longRows: [GgmlType, isMasked: boolean][] = [
  ["Q4_0", true],
  ["Q4_0", false],
  ["Q6_K", false],
];

testByTokens(
  "rows may be longer than what is made integers of at once",
  async (tokens) => {
    using bench = await Bench.open(stepOf(tokens));
    const columns = 8960;
    for (const [type, isMasked] of longRows) {
      const weights = weightsOf(bench, type, 21, columns);
      const rows = Array.from(
        { length: tokens },
        (_, t) => gaussianVector(columns, 50 + t),
      );
      const x = new Float32Array(tokens * columns);
      rows.forEach((row, t) => x.set(row, t * columns));
      const norm = gaussianVector(columns, 9), epsilon = 1e-3;
      const buffer = bench.buffer(x);
      const scores = gaussianVector(tokens * stride, 4);
      const results = await product(bench, weights, buffer, tokens, tokens, {
        x: { buffer, stride: columns },
        norm: { weight: bench.buffer(norm), epsilon },
        mask: isMasked ? { scores: bench.buffer(scores) } : undefined,
      });
      results.forEach((result, t) => {
        const scale = 1 / Math.sqrt(dot(rows[t], rows[t]) / columns + epsilon);
        const read = readBy(weights, rows[t].map((v, i) => v * norm[i]));
        assertClose(
          result,
          weights.rows.map((row, r) =>
            !isMasked || scores[t * stride + r] > 0 ? scale * dot(row, read) : 0
          ),
          `${type}, token ${t}`,
        );
      });
    }
  },
  [1, 3, 9], // a tile takes long in software
);

const normed: [GgmlType, number][] = [["F16", 10], ["F16", 300], ["Q8_0", 288]];

testByTokens(
  "the norm is part of a product",
  async (tokens) => {
    using bench = await Bench.open(stepOf(tokens));
    for (const [type, columns] of normed) {
      const weights = weightsOf(bench, type, 40, columns);
      const x = tokensOf(bench, tokens, columns);
      const norm = new Float32Array(stride);
      norm.set(gaussianVector(columns, 9));
      const epsilon = 1e-3;
      const results = await product(
        bench,
        weights,
        x.buffer,
        tokens,
        tokens,
        { norm: { weight: bench.buffer(norm), epsilon } },
      );
      results.forEach((result, t) => {
        const scale = 1 /
          Math.sqrt(dot(x.rows[t], x.rows[t]) / columns + epsilon);
        const read = readBy(weights, x.rows[t].map((v, i) => v * norm[i]));
        assertClose(
          result,
          weights.rows.map((row) => scale * dot(row, read)),
          `token ${t}`,
        );
      });
    }
  },
);

testByTokens(
  "logits are for wanted tokens only",
  async (tokens) => {
    const wanted = Array.from({ length: tokens }, (_, t) => t).filter((t) =>
      t % 2 === 0
    );
    using bench = await Bench.open(stepOf(tokens, { wanted }));
    const weights = weightsOf(bench, "Q8_0", 33, 64);
    const x = tokensOf(bench, tokens, 64);
    const results = await product(
      bench,
      weights,
      x.buffer,
      wanted.length,
      wanted.length,
      { gathered: true },
    );
    results.forEach((result, w) => {
      assertClose(
        result,
        weights.rows.map((row) => dot(row, readBy(weights, x.rows[wanted[w]]))),
        `result ${w}`,
      );
    });
  },
);

/** g is cubed, halved and so on as the papers say. */
function h(activation: Activation, g: number, u: number): number {
  switch (activation) {
    case "drelu":
      return Math.max(g, 0) * Math.max(u, 0);
    case "reglu":
      return Math.max(g, 0) * u;
    case "relu2":
      return Math.max(g, 0) ** 2 * u;
    case "swiglu":
      return g / (1 + Math.exp(-g)) * u;
    case "geglu":
      return 0.5 * g *
        (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3))) * u;
    case "swiglu_oai":
      return Math.min(g, 7) / (1 + Math.exp(-1.702 * Math.min(g, 7))) *
        (Math.max(-7, Math.min(u, 7)) + 1);
  }
}

for (
  const { activation, gateThreshold = 0 } of [
    { activation: "drelu" },
    { activation: "reglu" },
    { activation: "reglu", gateThreshold: 0.4 },
    { activation: "relu2" },
    { activation: "swiglu" },
    { activation: "geglu" },
    { activation: "swiglu_oai" },
  ] as { activation: Activation; gateThreshold?: number }[]
) {
  testByTokens(
    `${activation}, where the gate is above ${gateThreshold}`,
    async (tokens) => {
      using bench = await Bench.open(stepOf(tokens));
      const rows = 41, paddedRows = 64, columns = 96, counter = 6;
      const weights = weightsOf(bench, "Q4_0", rows, columns);
      const x = tokensOf(bench, tokens, columns);
      const gates = new Float32Array(tokens * stride).fill(NaN);
      for (let t = 0; t < tokens; t++) {
        gates.set(gaussianVector(rows, 80 + t), t * stride);
      }
      const gate = bench.buffer(gates);
      const isMasked = isSparse(activation);
      const before = new Float32Array(tokens * stride).fill(7);
      const results = await product(
        bench,
        weights,
        x.buffer,
        tokens,
        tokens,
        {
          gate,
          gateThreshold,
          mask: isMasked ? { scores: gate } : undefined,
          epilogue: activation,
          paddedRows,
          counter,
        },
        before,
      );
      let positive = 0, active = 0;
      results.forEach((result, t) => {
        const read = readBy(weights, x.rows[t]);
        const expected = weights.rows.map((row, r) => {
          const g = gates[t * stride + r], u = dot(row, read);
          const isPositive = g > gateThreshold;
          if (isPositive) positive++;
          const value = isPositive || !isMasked ? h(activation, g, u) : 0;
          if (value !== 0) active++;
          return value;
        });
        assertClose(result, expected, `token ${t}`);
        assert(
          result.subarray(rows, paddedRows).every((value) => value === 0),
        );
        assert(result.subarray(paddedRows).every((value) => value === 7));
      });
      const counts = new Uint32Array(
        await bench.run(() => {}, bench.context.counters),
      );
      const at = counter + (tokens === 1 ? 0 : 3);
      assert.deepEqual([...counts.subarray(at, at + 3)], [
        positive,
        active,
        0,
      ]);
    },
  );
}

/** One for each layout of rows, and numbers of tokens: there is a kernel for one, two, four, eight and many. */
const layouts: [GgmlType, tokens: number[]][] = [
  ["F32", [1, 8, 37]],
  ["F16", [1, 2, 37]],
  ["Q4_0", [1, 2, 3, 8, 37]],
  ["Q4_1", [1, 2, 37]],
  ["Q8_0", [1, 3, 37]],
  ["Q4_K", [1, 8, 37]],
  ["Q6_K", [1, 2, 37]],
  ["IQ4_NL", [1, 3, 37]],
  ["IQ4_XS", [1, 8, 37]],
  ["MXFP4", [1, 2, 3, 8, 37]],
  ["Q3_K", [1, 2, 37]],
  ["Q5_1", [1, 3, 37]],
];

/** Weights of about so much: the second time they, or their scales, are halves that are subnormal. */
const pairs: { type: GgmlType; tokens: number[]; size: number }[] = [
  ...layouts.map(([type, tokens]) => ({ type, tokens, size: 0.5 })),
  { type: "F16", tokens: [1, 3, 37], size: 3e-6 },
  { type: "Q4_0", tokens: [1, 3, 37], size: 3e-6 },
  { type: "Q8_0", tokens: [1, 3, 37], size: 3e-5 },
  { type: "Q4_K", tokens: [1, 3, 37], size: 3e-4 },
];

for (const [i, { type, tokens, size }] of pairs.entries()) {
  const activation = i % 2 === 0 ? "swiglu" : "drelu";
  const isLimited = i % 3 === 0;
  testByTokens(
    `gate and up of neurons in one kernel, in ${type} of about ${size}`,
    async (tokens) => {
      using bench = await Bench.open(stepOf(tokens));
      const rows = 41, paddedRows = 64, counter = 6, epsilon = 1e-3;
      const columns = ggmlTypes[type].blockSize === 256 ? 256 : 288;
      const [gate, up] = pairOf(bench, type, rows, columns, size);
      assert(gate.rows.every((row) => row.some((weight) => weight !== 0)));
      const x = wholeTokensOf(bench, tokens, columns);
      const norm = Float32Array.from(
        { length: stride },
        (_, i) => i < columns ? i % 3 - 1 : 0,
      );
      const bias = gaussianVector(2 * paddedRows, 3, size);
      const scores = gaussianVector(tokens * stride, 4);
      const before = new Float32Array(tokens * stride).fill(7);
      const results = await product(
        bench,
        gate,
        x.buffer,
        tokens,
        tokens,
        {
          up: up.matrix,
          norm: { weight: bench.buffer(norm), epsilon },
          bias: bench.buffer(bias),
          mask: isLimited
            ? { scores: bench.buffer(scores), threshold: 0.2 }
            : undefined,
          epilogue: activation,
          paddedRows,
          counter,
        },
        before,
      );
      let positive = 0, active = 0, predicted = 0;
      results.forEach((result, t) => {
        const scale = 1 /
          Math.sqrt(dot(x.rows[t], x.rows[t]) / columns + epsilon);
        const read = x.rows[t].map((v, i) => v * norm[i]);
        const expected = gate.rows.map((row, r) => {
          if (isLimited && scores[t * stride + r] < 0.2) return 0;
          predicted++;
          const g = scale * dot(row, read) + bias[r];
          const u = scale * dot(up.rows[r], read) + bias[paddedRows + r];
          const value = h(activation, g, u);
          if (g > 0) positive++;
          if (value !== 0) active++;
          return value;
        });
        assertClose(result, expected, `token ${t}`);
        assert(result.subarray(rows, paddedRows).every((value) => value === 0));
        assert(result.subarray(paddedRows).every((value) => value === 7));
      });
      const counts = new Uint32Array(
        await bench.run(() => {}, bench.context.counters),
      );
      const at = counter + (tokens === 1 ? 0 : 3);
      assert.deepEqual([...counts.subarray(at, at + 3)], [
        positive,
        active,
        isLimited ? predicted : 0,
      ]);
    },
    tokens,
  );
}

testByTokens("without a gate, up is its own", async (tokens) => {
  using bench = await Bench.open(stepOf(tokens));
  const weights = weightsOf(bench, "F16", 41, 96);
  const x = tokensOf(bench, tokens, 96);
  const bias = gaussianVector(stride, 3);
  const results = await product(bench, weights, x.buffer, tokens, tokens, {
    bias: bench.buffer(bias),
    epilogue: "relu2",
  });
  results.forEach((result, t) =>
    assertClose(
      result,
      weights.rows.map((row, r) =>
        h("relu2", dot(row, x.rows[t]) + bias[r], 1)
      ),
      `token ${t}`,
    )
  );
});

testByTokens("products are scaled, then biased and capped", async (tokens) => {
  using bench = await Bench.open(stepOf(tokens));
  const weights = weightsOf(bench, "F16", 41, 96);
  const x = tokensOf(bench, tokens, 96);
  const cap = 2, bias = gaussianVector(stride, 3);
  for (const factor of [0.3, 1e3]) {
    const options = { factor, bias: bench.buffer(bias), cap };
    const results = await product(
      bench,
      weights,
      x.buffer,
      tokens,
      tokens,
      options,
    );
    results.forEach((result, t) =>
      weights.rows.forEach((row, r) => {
        const expected = cap *
          Math.tanh((factor * dot(row, x.rows[t]) + bias[r]) / cap);
        const error = Math.abs(result[r] - expected);
        assert(error < 3e-6 * Math.max(1, factor), `${result[r]}, ${expected}`);
      })
    );
  }
});

testByTokens(
  "rows are masked by a threshold",
  async (tokens) => {
    using bench = await Bench.open(stepOf(tokens));
    const weights = weightsOf(bench, "F32", 50, 64);
    const x = tokensOf(bench, tokens, 64);
    const scores = gaussianVector(tokens * stride, 4);
    scores[7] = 0.25;
    const mask = { scores: bench.buffer(scores), threshold: 0.25 };
    const results = await product(bench, weights, x.buffer, tokens, tokens, {
      mask,
      epilogue: "relu",
    });
    let count = 0;
    results.forEach((result, t) => {
      assertClose(
        result,
        weights.rows.map((row, r) => {
          if (scores[t * stride + r] < 0.25) return 0;
          count++;
          return Math.max(0, dot(row, x.rows[t]));
        }),
        `token ${t}`,
      );
    });
    const counts = new Uint32Array(
      await bench.run(() => {}, bench.context.counters),
    );
    assert.equal(counts[tokens === 1 ? 2 : 5], count);
  },
);
