import assert from "node:assert/strict";
import fc from "fast-check";
import { UsageError } from "../../../src/errors.ts";
import {
  dequantise,
  isReadType,
} from "../../../src/formats/ggml/dequantise.ts";
import { quantise } from "../../../src/formats/ggml/quantise.ts";
import { type GgmlType, ggmlTypes } from "../../../src/formats/ggml/types.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";
import { goldensFor, typeNames } from "./goldens.ts";

const readTypes = typeNames.filter(isReadType);
const blockTypes = typeNames.filter((type) =>
  ggmlTypes[type].blockSize > 1 && !isReadType(type)
);

for (const [type, { bytes, values }] of goldensFor("quantise")) {
  Deno.test(`quantise ${type}: the same bytes as gguf-py`, () => {
    assert.deepEqual(quantise(type, values), bytes);
  });
}

/**
 * Root mean square error, in units of the weights' deviation, that rounding
 * normal weights may have: a little above what each type reaches.
 */
const errorBounds: Partial<Record<GgmlType, number>> = {
  Q4_0: 0.1,
  Q4_1: 0.09,
  Q5_0: 0.05,
  Q5_1: 0.045,
  Q8_0: 0.007,
  Q2_K: 0.33,
  Q3_K: 0.17,
  Q4_K: 0.085,
  Q5_K: 0.042,
  Q6_K: 0.021,
};

function roundTrip(type: GgmlType, values: Float32Array): Float32Array {
  const out = new Float32Array(values.length);
  dequantise(type, quantise(type, values), out);
  return out;
}

function rootMeanSquareError(a: Float32Array, b: Float32Array): number {
  const sum = a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
  return Math.sqrt(sum / a.length);
}

for (const type of blockTypes) {
  Deno.test(`quantise ${type}: normal weights come back within the type's error`, () => {
    for (const scale of [1, 1e-2, 100]) {
      const values = gaussianVector(16384, 7, scale);
      const error = rootMeanSquareError(values, roundTrip(type, values)) /
        scale;
      assert.ok(error < errorBounds[type]!, `${type}: ${error} at ${scale}`);
    }
  });

  Deno.test(`quantise ${type}: any finite weights stay finite and near their range`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -1000, max: 1000, noNaN: true }), {
          minLength: ggmlTypes[type].blockSize,
          maxLength: ggmlTypes[type].blockSize,
        }),
        (numbers) => {
          const values = Float32Array.from(numbers);
          const largest = Math.max(...values.map(Math.abs));
          for (const value of roundTrip(type, values)) {
            assert.ok(
              Math.abs(value) <= largest * 1.5 + 1e-4,
              `${value} beyond ${largest}`,
            );
          }
        },
      ),
      { seed: 3, numRuns: 60 },
    );
  });

  Deno.test(`quantise ${type}: NaN, infinities and scales beyond f16 are refused`, () => {
    for (const bad of [NaN, Infinity, -Infinity, 3e38]) {
      const values = new Float32Array(ggmlTypes[type].blockSize);
      values[5] = bad;
      assert.throws(() => quantise(type, values), UsageError);
    }
  });

  Deno.test(`quantise ${type}: zeros stay zero`, () => {
    const zeros = new Float32Array(ggmlTypes[type].blockSize);
    assert.ok(roundTrip(type, zeros).every((value) => value === 0));
  });
}

Deno.test("a row that is no whole number of blocks is refused with both numbers", () => {
  assert.throws(
    () => quantise("Q4_K", new Float32Array(257)),
    (error) => error instanceof UsageError && /257.*256/.test(error.message),
  );
});

Deno.test("what culm reads and does not write is refused with what it writes", () => {
  assert.equal(readTypes.length, 15);
  for (const type of readTypes) {
    assert.throws(
      () => quantise(type, new Float32Array(256)),
      (error) =>
        error instanceof UsageError &&
        error.message.startsWith(
          `Cannot store weights as ${type}: culm reads it, and writes F32, F16, `,
        ) && !error.message.includes("IQ3_S,"),
    );
  }
});
