/** Matrix products against sums in f64. */

import assert from "node:assert/strict";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { halfToFloat } from "../../src/formats/ggml/half.ts";
import { type GgmlType, ggmlTypes } from "../../src/formats/ggml/types.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { builds, Instance, kindOf, randomRows, unitOf } from "./instance.ts";

/** A type of each packed kind. */
const types: readonly GgmlType[] = [
  "F32",
  "F16",
  "Q4_0",
  "Q4_1",
  "Q4_K",
  "IQ4_XS",
  "MXFP4",
  "IQ3_XXS",
  "IQ3_S",
  "IQ2_XXS",
  "IQ1_S",
  "Q8_0",
  "Q5_0",
  "Q5_1",
  "Q5_K",
  "Q6_K",
  "IQ2_XS",
  "Q2_K",
];

const isFloat = (type: GgmlType) => kindOf[type] < 2;

interface Case {
  k: number;
  nRows: number;
  nTokens: number;
  /** The matrix, dequantised, row by row. */
  weights: Float32Array;
  rows: Uint8Array<ArrayBuffer>;
  /** Activations, token by token. */
  x: Float32Array;
}

function randomCase(
  type: GgmlType,
  random: () => number,
  half: () => number,
  activation: (i: number) => number,
  mostRows = 28,
): Case {
  const unit = isFloat(type) ? 1 : unitOf(type);
  const k = unit === 1
    ? Math.floor(random() * 300)
    : unit * (1 + Math.floor((random() * 700) / unit));
  const nRows = Math.floor(random() * mostRows);
  // Now and then so many that rows are unpacked before they are multiplied.
  const nTokens = 1 + Math.floor(random() * 9) + (random() < 0.1 ? 20 : 0);
  const rows = randomRows(type, nRows * k, random, half);
  const weights = new Float32Array(nRows * k);
  dequantise(type, rows, weights);
  const x = Float32Array.from(
    { length: nTokens * k },
    (_, i) => activation(i % k),
  );
  return { k, nRows, nTokens, weights, rows, x };
}

/** Puts activations in the form that a type's kernels take. */
function putActivations(
  instance: Instance,
  type: GgmlType,
  { k, nTokens, x }: Case,
): { pointer: number; rowBytes: number } {
  const { kernels } = instance;
  if (isFloat(type)) {
    const width = Math.ceil(k / 8) * 8;
    const padded = new Float32Array(nTokens * width);
    for (let t = 0; t < nTokens; t++) {
      padded.set(x.subarray(t * k, (t + 1) * k), t * width);
    }
    return { pointer: instance.put(padded), rowBytes: 4 * width };
  }
  const rowBytes = kernels.activation_row_bytes(k);
  const pointer = instance.allocate(rowBytes * nTokens);
  kernels.quantise_activations(
    instance.put(x),
    k,
    nTokens,
    k,
    pointer,
    rowBytes,
  );
  return { pointer, rowBytes };
}

/** Calls `check` with each result of matmul beside its row and token. */
function multiply(
  instance: Instance,
  type: GgmlType,
  random: () => number,
  given: Case,
  check: (result: number, w: Float32Array, x: Float32Array) => void,
): void {
  const { k, nRows, nTokens, weights, rows, x } = given;
  const { kernels } = instance;
  instance.reset();
  kernels.choose(Math.floor(random() * 4));
  const packed = instance.pack(type, rows, nRows, 0, k);
  const activations = putActivations(instance, type, given);
  const stride = nRows + Math.floor(random() * 3);
  const out = instance.allocate(4 * stride * nTokens);
  const product = random() < 0.5 ? kernels.matmul : kernels.matmul_shifted;
  product(
    kindOf[type],
    packed.pointer,
    packed.rowBytes,
    nRows,
    k,
    activations.pointer,
    activations.rowBytes,
    nTokens,
    out,
    stride,
  );
  const results = instance.floats(out, stride * nTokens).slice();
  const ids = Uint32Array.from({ length: nRows }, (_, i) => i)
    .filter(() => random() < 0.5);
  const pick = random() < 0.5
    ? kernels.matvec_rows
    : kernels.matvec_rows_shifted;
  pick(
    kindOf[type],
    packed.pointer,
    packed.rowBytes,
    instance.put(ids),
    ids.length,
    k,
    activations.pointer,
    out,
  );
  const picked = instance.floats(out, stride);
  for (let t = 0; t < nTokens; t++) {
    for (let r = 0; r < nRows; r++) {
      const w = weights.subarray(r * k, (r + 1) * k);
      const xt = x.subarray(t * k, (t + 1) * k);
      check(results[t * stride + r], w, xt);
      if (t === 0 && ids.includes(r)) check(picked[r], w, xt);
    }
  }
}

const dot = (w: Float32Array, x: Float32Array) =>
  w.reduce((sum, weight, i) => sum + weight * x[i], 0);

/** 2^-4 .. 2^-1 as half bits. */
const powerOfTwo = (random: () => number) =>
  (11 + Math.floor(random() * 4)) << 10;

/**
 * Integers, half of them zero. Each dozen active rows of a token has a 127, so
 * that their quantisation scale is that of the rows.
 */
function coefficients(
  random: () => number,
  nRows: number,
  nTokens: number,
): Float32Array<ArrayBuffer> {
  const h = new Float32Array(nRows * nTokens);
  for (let t = 0; t < nTokens; t++) {
    let active = 0;
    for (let r = 0; r < nRows; r++) {
      if (random() < 0.5) continue;
      const first = active++ % 12 === 0;
      h[t * nRows + r] = first ? 127 : Math.round(random() * 253 - 127) || 1;
    }
  }
  return h;
}

for (const [build, module] of Object.entries(builds)) {
  const instance = new Instance(module);

  for (const type of types) {
    Deno.test(`${build}: ${type} products of small integers are exact`, () => {
      const random = seededRandom(7);
      for (let round = 0; round < 25; round++) {
        // Each block of 32 has a 127, so that its quantisation scale is 1.
        const given = randomCase(
          type,
          random,
          () => powerOfTwo(random),
          (i) => i % 32 === 0 ? 127 : Math.round(random() * 254 - 127),
        );
        multiply(instance, type, random, given, (result, w, x) => {
          const expected = dot(w, x);
          // K-quant scales make larger products than 24 bits hold.
          const exact = w.reduce((sum, v, i) => sum + Math.abs(v * x[i]), 0) <
            2 ** 18;
          const error = Math.abs(result - expected);
          const sizes = x.reduce((sum, v) => sum + Math.abs(v), 0) *
            w.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
          assert.ok(
            exact ? error === 0 : error <= 2e-6 * sizes,
            `${result}, expected ${expected}`,
          );
        });
      }
    });

    Deno.test(`${build}: ${type} products stay within the activations' error`, () => {
      const random = seededRandom(8);
      for (let round = 0; round < 25; round++) {
        const size = 10 ** Math.round(random() * 12 - 6);
        const given = randomCase(
          type,
          random,
          // Up to 2^4, zeros and subnormals too.
          () => Math.floor(random() * 0x4c00) * Math.round(random()),
          () => (random() - 0.5) * size,
        );
        multiply(instance, type, random, given, (result, w, x) => {
          let bound = 0;
          for (let i = 0; i < x.length; i += 32) {
            const sum = (v: Float32Array) =>
              v.subarray(i, i + 32).reduce((s, v) => s + Math.abs(v), 0);
            const amax = x.subarray(i, i + 32)
              .reduce((most, v) => Math.max(most, Math.abs(v)), 0);
            bound += sum(w) * amax * (isFloat(type) ? 0 : 1.001 / 254);
          }
          const largest = w.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
          bound += 2e-6 * largest * x.reduce((s, v) => s + Math.abs(v), 0);
          // What sums of subnormal numbers lose: MXFP4 has such scales.
          bound += 1e-40;
          const expected = dot(w, x);
          assert.ok(
            Math.abs(result - expected) <= bound,
            `${result}, expected ${expected} within ${bound}`,
          );
        });
      }
    });

    Deno.test(`${build}: ${type} products that are asked for are those of all`, () => {
      const random = seededRandom(11);
      const { kernels } = instance;
      for (let round = 0; round < 25; round++) {
        const given = randomCase(
          type,
          random,
          () => powerOfTwo(random),
          random,
        );
        const { k, nRows, nTokens, rows } = given;
        instance.reset();
        const packed = instance.pack(type, rows, nRows, 0, k);
        const activations = putActivations(instance, type, given);
        const stride = nRows + Math.floor(random() * 3);
        const asked = Float32Array.from(
          { length: stride * nTokens },
          () => random() - 0.5,
        );
        const all = instance.allocate(4 * stride * nTokens);
        const some = instance.put(new Float32Array(stride * nTokens).fill(-7));
        const shape = [
          kindOf[type],
          packed.pointer,
          packed.rowBytes,
          nRows,
          k,
          activations.pointer,
          activations.rowBytes,
          nTokens,
        ] as const;
        kernels.matmul(...shape, all, stride);
        const count = kernels.matmul_where(
          ...shape,
          instance.put(asked),
          0.125,
          some,
          stride,
        );
        const isAsked = (i: number) => i % stride < nRows && asked[i] >= 0.125;
        const expected = instance.floats(all, stride * nTokens)
          .map((value, i) => isAsked(i) ? value : -7);
        assert.deepEqual(instance.floats(some, stride * nTokens), expected);
        assert.equal(count, asked.filter((_, i) => isAsked(i)).length);
      }
    });

    Deno.test(`${build}: ${type} rows add up, silent ones unread`, () => {
      const random = seededRandom(9);
      const { kernels } = instance;
      for (let round = 0; round < 25; round++) {
        instance.reset();
        const one = () => 0x3c00;
        const given = randomCase(type, random, one, () => 0, 50);
        const { k, nRows, nTokens, weights, rows } = given;
        const packed = instance.pack(type, rows, nRows, 0, k);
        const h = coefficients(random, nRows, nTokens);
        const active = Array.from({ length: nRows }, (_, r) => r)
          .filter((r) => h.some((v, i) => i % nRows === r && v !== 0));
        // A row that must not be read is made of NaN.
        for (let r = 0; r < nRows; r++) {
          if (active.includes(r)) continue;
          const at = packed.pointer + r * packed.rowBytes;
          instance.bytes(at, packed.rowBytes).fill(0xff);
        }
        const stride = k + Math.floor(random() * 3);
        const before = Float32Array.from(
          { length: stride * nTokens },
          () => Math.round(random() * 100),
        );
        const out = instance.put(before);
        const read = kernels.axpy_rows(
          kindOf[type],
          packed.pointer,
          packed.rowBytes,
          nRows,
          k,
          instance.put(h),
          nRows,
          nTokens,
          out,
          stride,
        );
        assert.equal(read, active.length);
        // What rounding one of a dozen coefficients may do to a column.
        const largest = 127 / 254 *
          weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
        const after = instance.floats(out, stride * nTokens);
        for (let t = 0; t < nTokens; t++) {
          for (let i = 0; i < stride; i++) {
            let expected = before[t * stride + i];
            let size = expected;
            for (const r of i < k ? active : []) {
              const term = h[t * nRows + r] * weights[r * k + i];
              expected += term;
              size += Math.abs(term);
            }
            // Small integers, but for scales of parts of a block.
            const tolerance = ggmlTypes[type].blockSize === 256
              ? active.length * largest
              : 0;
            assert.ok(
              Math.abs(after[t * stride + i] - expected) <= tolerance,
              `token ${t}, column ${i}: ${
                after[t * stride + i]
              }, expected ${expected}`,
            );
          }
        }
      }
    });
  }

  Deno.test(`${build}: F16 rows of any size are exact beside others`, () => {
    // 2^-24 is the least half, 0x7bff = 65504 the largest.
    const sizes = [1, 0x200, 0x2400, 0x3c00, 0x5400, 0x7bff];
    const values = sizes.map(halfToFloat);
    const { kernels } = instance;
    for (const coefficient of [2 ** -20, 1, 2 ** 60]) {
      instance.reset();
      const k = 40;
      const rows = new Uint16Array(k * sizes.length);
      // Each row has one weight of its size; the last ones have the least half too.
      sizes.forEach((bits, r) => rows[k * r + 5 * r] = bits);
      rows[k * sizes.length - 1] = 1;
      const bytes = new Uint8Array(rows.buffer);
      const { pointer, rowBytes } = instance.pack("F16", bytes, 6, 0, k);
      const x = instance.put(new Float32Array(k).fill(coefficient));
      const out = instance.allocate(4 * 6);
      kernels.matmul(1, pointer, rowBytes, 6, k, x, 4 * k, 1, out, 6);
      const expected = values.map((w, r) =>
        coefficient * (r === 5 ? Math.fround(w + 2 ** -24) : w)
      );
      assert.deepEqual([...instance.floats(out, 6)], expected);
      const sums = instance.put(new Float32Array(k));
      kernels.axpy_rows(1, pointer, rowBytes, 6, k, x, 6, 1, sums, k);
      const columns = new Float32Array(k);
      values.forEach((w, r) => columns[5 * r] = coefficient * w);
      columns[k - 1] = coefficient * 2 ** -24;
      assert.deepEqual(instance.floats(sums, k), columns);
    }
  });

  Deno.test(`${build}: activations are quantised to the nearest`, () => {
    // Identity rows of scale 1 read the quantised activations back.
    const random = seededRandom(10);
    const { kernels } = instance;
    for (const k of [1, 31, 32, 33, 128, 130, 256]) {
      instance.reset();
      const x = Float32Array.from({ length: k }, () => random() - 0.5);
      if (k > 64) x.fill(0, 32, 64);
      const width = Math.ceil(k / 64) * 64;
      const rows = new Uint8Array((width / 32) * 34 * width);
      for (let i = 0; i < width; i++) {
        const row = i * (width / 32) * 34;
        for (let b = 0; b < width; b += 32) {
          new DataView(rows.buffer).setUint16(
            row + (b / 32) * 34,
            0x3c00,
            true,
          );
        }
        rows[row + Math.floor(i / 32) * 34 + 2 + i % 32] = 1;
      }
      const packed = instance.pack("Q8_0", rows, width, 0, width);
      const rowBytes = kernels.activation_row_bytes(k);
      const activations = instance.allocate(rowBytes);
      kernels.quantise_activations(
        instance.put(x),
        k,
        1,
        k,
        activations,
        rowBytes,
      );
      const out = instance.allocate(4 * width);
      kernels.matmul(
        kindOf.Q8_0,
        packed.pointer,
        packed.rowBytes,
        width,
        width,
        activations,
        rowBytes,
        1,
        out,
        width,
      );
      const read = instance.floats(out, width);
      for (let i = 0; i < width; i++) {
        const block = x.subarray(i - i % 32, i - i % 32 + 32);
        const amax = block.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
        const error = Math.abs(read[i] - (x[i] ?? 0));
        assert.ok(error <= (amax / 254) * 1.0001, `activation ${i} of ${k}`);
      }
    }
  });
}
