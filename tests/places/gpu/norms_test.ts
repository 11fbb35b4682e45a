/** Norms apart from products, beside sums in f64. */
import assert from "node:assert/strict";
import { Norm, type NormOptions } from "../../../src/places/gpu/run/norm.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";
import { Bench, stepOf } from "./on_device.ts";

const tokens = 3, stride = 700, epsilon = 1e-2;

/** What one segment becomes. */
function normed(
  x: Float32Array,
  weight: Float32Array,
  { bias, isCentred, scale }: {
    bias?: Float32Array;
    isCentred?: boolean;
    scale?: number;
  },
): number[] {
  const mean = isCentred ? x.reduce((sum, v) => sum + v, 0) / x.length : 0;
  const squares = x.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  const by = scale ?? 1 / Math.sqrt(squares / x.length + epsilon);
  return Array.from(
    x,
    (v, i) => (v - mean) * by * weight[i] + (bias?.[i] ?? 0),
  );
}

interface Case {
  readonly name: string;
  readonly segments: NormOptions["segments"];
  readonly isCentred?: boolean;
  readonly isBiased?: boolean;
  readonly isGiven?: boolean;
  readonly to: "place" | "out" | "sum";
}

const wide = { first: 0, size: 600, count: 1 };

const cases: Case[] = [
  { name: "in its place", segments: [wide], to: "place" },
  {
    name: "two kinds, some of them several times",
    segments: [
      { first: 301, size: 100, count: 3 },
      { first: 7, size: 37, count: 2 },
    ],
    to: "place",
  },
  {
    name: "by scales of others",
    segments: [
      { first: 301, size: 100, count: 1 },
      { first: 7, size: 37, count: 1 },
    ],
    isGiven: true,
    to: "place",
  },
  {
    name: "around the mean, elsewhere",
    segments: [wide],
    isCentred: true,
    isBiased: true,
    to: "out",
  },
  { name: "added, and begun anew", segments: [wide], to: "sum" },
];

for (const { name, segments, isCentred, isBiased, isGiven, to } of cases) {
  testWithAdapter(`a norm: ${name}`, async () => {
    using bench = await Bench.open(stepOf(tokens));
    const x = gaussianVector(tokens * stride, 1).map((value) => value + 0.5);
    const before = gaussianVector(tokens * stride, 2);
    const weight = gaussianVector(stride, 3), bias = gaussianVector(stride, 4);
    const scales = gaussianVector(2 * tokens, 5);
    const rows = { buffer: bench.buffer(x), stride };
    const out = { buffer: bench.buffer(before), stride };
    const norm = new Norm(bench.context, {
      x: rows,
      segments,
      weight: bench.buffer(weight),
      bias: isBiased ? bench.buffer(bias) : undefined,
      epsilon,
      isCentred,
      scales: isGiven ? bench.buffer(scales) : undefined,
      out: to === "place" ? undefined : out,
      adds: to === "sum",
    });
    const read = (buffer: GPUBuffer, encode = () => {}) =>
      bench.run(encode, buffer).then((bytes) => new Float32Array(bytes));
    const actualX = await read(rows.buffer, () => norm.encode(tokens));
    const actualOut = await read(out.buffer);

    const expectedX = x.slice(), expectedOut = before.slice();
    for (let t = 0; t < tokens; t++) {
      let weightsAt = 0;
      segments.forEach((segment, kind) => {
        const { first, size, count } = segment!;
        for (let i = 0; i < count; i++) {
          const at = t * stride + first + i * size;
          const values = normed(
            x.subarray(at, at + size),
            weight.subarray(weightsAt),
            {
              bias: isBiased ? bias : undefined,
              isCentred,
              scale: isGiven ? scales[2 * t + kind] : undefined,
            },
          );
          values.forEach((value, j) => {
            if (to === "place") expectedX[at + j] = value;
            if (to === "out") expectedOut[at + j] = value;
            if (to !== "sum") return;
            expectedX[at + j] = 0;
            expectedOut[at + j] += value;
          });
        }
        weightsAt += size;
      });
    }
    for (
      const [actual, expected] of [
        [actualX, expectedX],
        [actualOut, expectedOut],
      ]
    ) {
      expected.forEach((value, i) =>
        assert(
          Math.abs(actual[i] - value) < 1e-5,
          `${actual[i]} at ${i}, not ${value}`,
        )
      );
    }
  });
}
