/** Attention and the pages it reads, against plain arithmetic in f64. */

import assert from "node:assert/strict";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { halfToFloat } from "../../src/formats/ggml/half.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import type { CacheType } from "../../src/places/cache_type.ts";
import { cpuPositionBytes } from "../../src/places/cpu/kv_cache.ts";
import { gaussianVector, seededRandom } from "../helpers/seeded_random.ts";
import { builds, Instance } from "./instance.ts";

const typeIds: Record<CacheType, number> = { f32: 0, f16: 1, q8_0: 2 };
const types = Object.keys(typeIds) as CacheType[];

/** What `kv_store` promises to keep of a key or a value. */
function kept(
  type: CacheType,
  side: "key" | "value",
  values: Float32Array,
): Float32Array {
  switch (type) {
    case "f32":
      return values;
    case "f16": {
      const size = side === "key"
        ? Math.hypot(...values)
        : values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      const scale = topHalf(Math.fround(size / 32767));
      const inverse = Math.fround(1 / scale);
      return values.map((v) =>
        0 + scale * roundTiesEven(Math.fround(v * inverse))
      );
    }
    case "q8_0": {
      const padded = new Float32Array(32 * Math.ceil(values.length / 32));
      padded.set(values);
      const out = new Float32Array(padded.length);
      dequantise("Q8_0", quantise("Q8_0", padded), out);
      return out.subarray(0, values.length);
    }
  }
}

function roundTiesEven(value: number): number {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** The next number that is not smaller, of those whose lower half is zero as an f32. */
function topHalf(value: number): number {
  const words = new Uint32Array(Float32Array.of(value).buffer);
  words[0] = Math.ceil(words[0] / 65536) * 65536;
  return new Float32Array(words.buffer)[0];
}

/** Where a page keeps its numbers: what `wasm/src/kv.rs` says, spelt out. */
function readPage(
  type: CacheType,
  bytes: Uint8Array,
  headDim: number,
  slot: number,
): { key: Float32Array; value: Float32Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const half = bytes.length / 2;
  const order = [0, 2, 4, 6, 1, 3, 5, 7];
  const blocks = Math.ceil(headDim / 32), steps = 8 * Math.ceil(headDim / 8);
  const panel = slot >> 3, column = slot & 7;
  /** Of words and bytes two steps lie side by side. */
  const inPairs = (step: number, column: number) =>
    (step >> 1) * 16 + 2 * column + (step & 1);
  const word = (side: number, step: number, column: number) =>
    new Float32Array(
      Uint32Array.of(view.getUint16(side + 2 * slot, true) << 16).buffer,
    )[0] * view.getInt16(side + 64 + 2 * inPairs(step, column), true);
  const key = (i: number): number => {
    if (type === "f16") return word(0, panel * steps + i, column);
    if (type === "f32") {
      return view.getFloat32(4 * (8 * (panel * steps + i) + column), true);
    }
    const block = (panel * blocks + (i >> 5)) * 272;
    const scale = halfToFloat(view.getUint16(block + 2 * order[column], true));
    const at = block + 16 + inPairs(i & 31, column);
    return Math.fround(scale * view.getInt8(at));
  };
  const value = (j: number): number => {
    const step = (j >> 3) * 32 + slot;
    if (type === "f16") return word(half, step, j & 7);
    if (type === "f32") {
      return view.getFloat32(half + 4 * (8 * step + (j & 7)), true);
    }
    const block = half + (j >> 5) * 1088;
    const scale = halfToFloat(view.getUint16(block + 2 * slot, true));
    const at = block + 64 + inPairs(((j & 31) >> 3) * 32 + slot, j & 7);
    return Math.fround(scale * view.getInt8(at));
  };
  const row = (f: (i: number) => number) =>
    Float32Array.from({ length: headDim }, (_, i) => f(i));
  return { key: row(key), value: row(value) };
}

/** softmax(scale q . K) V over the positions `from..to`; the softmax has scores `sinks` too, of no value. */
function attend(
  q: Float32Array,
  keys: Float32Array[],
  values: Float32Array[],
  from: number,
  to: number,
  scale: number,
  cap: number,
  sinks: readonly number[],
): number[] {
  const scores = keys.slice(from, to)
    .map((key) => scale * key.reduce((sum, x, i) => sum + x * q[i], 0))
    .map((score) => cap ? cap * Math.tanh(score / cap) : score);
  const most = Math.max(...scores, ...sinks);
  const weights = scores.map((score) => Math.exp(score - most));
  const total = [...weights, ...sinks.map((score) => Math.exp(score - most))]
    .reduce((sum, weight) => sum + weight, 0);
  return Array.from(
    q,
    (_, j) =>
      weights.reduce((sum, w, p) => sum + w / total * values[from + p][j], 0),
  );
}

for (const [build, module] of Object.entries(builds)) {
  const instance = new Instance(module);
  const { kernels } = instance;

  const pageOf = (type: CacheType, headDim: number) =>
    instance.allocate(32 * cpuPositionBytes(type, headDim));

  for (const type of types) {
    Deno.test(`${build}: kv_store keeps ${type} keys and values, each in its place`, () => {
      for (const headDim of [1, 7, 8, 30, 32, 33, 100, 128, 1024]) {
        instance.reset();
        const size = 32 * cpuPositionBytes(type, headDim);
        const source = instance.allocate(8 * headDim);
        const page = pageOf(type, headDim);
        const rows = Array.from({ length: 32 }, (_, slot) => ({
          key: gaussianVector(headDim, 64 * headDim + slot, 3),
          value: gaussianVector(headDim, 64 * headDim + 32 + slot, 30),
        }));
        for (const slot of rows.keys().toArray().reverse()) {
          const { key, value } = rows[slot];
          const at = [source, source + 4 * headDim];
          instance.floats(at[0], headDim).set(key);
          instance.floats(at[1], headDim).set(value);
          kernels.kv_store(typeIds[type], at[0], at[1], headDim, page, slot);
        }
        for (const [slot, { key, value }] of rows.entries()) {
          const actual = readPage(
            type,
            instance.bytes(page, size),
            headDim,
            slot,
          );
          assert.deepEqual(actual.key, kept(type, "key", key));
          assert.deepEqual(actual.value, kept(type, "value", value));
        }
        const after = instance.bytes(page + size, 64);
        assert(after.every((byte) => byte === 0xff), "nothing behind the page");
      }
    });
  }

  Deno.test(`${build}: f16 keeps 16 bits of a position, of any size`, () => {
    const random = seededRandom(3);
    for (const log2 of [-149, -120, -100, -20, -3, 0, 15, 30, 127]) {
      const values = Float32Array.from(
        { length: 1000 },
        () => (random() - 0.5) * 2 ** (log2 + 1 - 20 * random()),
      );
      values.set([0, -0]);
      instance.reset();
      const [page, at] = [pageOf("f16", 1000), instance.put(values)];
      kernels.kv_store(1, at, at, 1000, page, 13);
      const bytes = instance.bytes(page, 32 * cpuPositionBytes("f16", 1000));
      const { key, value } = readPage("f16", bytes, 1000, 13);
      const norm = Math.hypot(...values);
      const most = Math.max(...values.map(Math.abs));
      // A scale is up to 2^-7 larger than it has to be, and a quotient off by 2^-9.
      const half = (size: number) => Math.max(size * 1.012 / 65534, 1e-33);
      values.forEach((v, i) => {
        assert(Math.abs(key[i] - v) <= half(norm));
        assert(Math.abs(value[i] - v) <= half(most));
      });
    }
  });

  Deno.test(`${build}: f16 keeps a large number in place of an infinite one`, () => {
    instance.reset();
    const values = Float32Array.of(-Infinity, 1, Infinity, 0);
    const [page, at] = [pageOf("f16", 4), instance.put(values)];
    kernels.kv_store(1, at, at, 4, page, 0);
    const bytes = instance.bytes(page, 32 * cpuPositionBytes("f16", 4));
    const { key, value } = readPage("f16", bytes, 4, 0);
    for (const [low, one, high, zero] of [key, value]) {
      assert(low < -1e38 && high > 1e38);
      assert.deepEqual([one, zero], [0, 0]);
    }
  });

  Deno.test(`${build}: q8_0 keeps zeros, and scales that a half can't hold`, () => {
    instance.reset();
    const values = new Float32Array(96);
    values.fill(1e-12, 32, 64).fill(1e9, 64);
    const [page, at] = [pageOf("q8_0", 96), instance.put(values)];
    kernels.kv_store(2, at, at, 96, page, 5);
    const bytes = instance.bytes(page, 32 * cpuPositionBytes("q8_0", 96));
    const { key, value } = readPage("q8_0", bytes, 96, 5);
    // 1e-12 / 127 rounds to 0; 1e9 / 127 is cut to the largest half.
    const expected = new Float32Array(96).fill(127 * 65504, 64);
    assert.deepEqual([key, value], [expected, expected]);
  });

  for (const type of types) {
    Deno.test(`${build}: attention over ${type} pages`, () => {
      const random = seededRandom(5 + typeIds[type]);
      const upTo = (n: number) => Math.floor(random() * (n + 1));
      for (let round = 0; round < 60; round++) {
        instance.reset();
        const heads = 1 + upTo(8);
        const tokens = round % 2 ? 1 : 1 + upTo(20);
        const headDim = round % 9 === 0 ? 1 + upTo(400) : 1 + upTo(70);
        const first = upTo(110);
        const window = round % 3 ? 0 : 1 + upTo(60);
        const scale = random() / Math.sqrt(headDim);
        const cap = round % 4 ? 0 : 0.5 + 2 * random();
        const seed = 1000 * round;
        const sinks = round % 5 < 2
          ? gaussianVector(heads, seed, 6)
          : undefined;
        const total = first + tokens;
        const vector = (stored: number) =>
          gaussianVector(headDim, seed + stored, 2);
        const keys = Array.from(
          { length: total },
          (_, p) => kept(type, "key", vector(2 + p)),
        );
        const values = Array.from(
          { length: total },
          (_, p) => kept(type, "value", vector(500 + p)),
        );
        // What no position uses is 0xff, and pages are in no order.
        const pages = Array.from(
          { length: Math.ceil(total / 32) },
          () => pageOf(type, headDim),
        ).reverse();
        const source = instance.allocate(8 * headDim);
        const least = window ? Math.max(0, first + 1 - window) : 0;
        for (let p = least; p < total; p++) {
          instance.floats(source, headDim).set(keys[p]);
          instance.floats(source + 4 * headDim, headDim).set(values[p]);
          const value = source + 4 * headDim;
          kernels.kv_store(
            typeIds[type],
            source,
            value,
            headDim,
            pages[p >> 5],
            p & 31,
          );
        }
        const gap = upTo(3);
        const stride = heads * headDim + gap;
        const q = gaussianVector(tokens * stride, seed + 1, 2);
        const out = instance.allocate(4 * q.length);
        const read = kernels.attention(
          typeIds[type],
          instance.put(q),
          stride,
          tokens,
          heads,
          headDim,
          instance.put(Uint32Array.from(pages)),
          first + 1,
          window,
          scale,
          cap,
          sinks ? instance.put(sinks) : 0,
          out,
          stride,
        );
        if (tokens === 1) assert.equal(read, total - least);
        assert(read >= total - least && read <= tokens * total);
        // Both sides see the same keys and values; queries and weights are rounded to 16 bits.
        const tolerance = type === "f32" ? 1e-4 : 2e-3;
        for (let t = 0; t < tokens; t++) {
          for (let h = 0; h < heads; h++) {
            const begin = t * stride + h * headDim;
            const end = first + t + 1;
            const expected = attend(
              q.subarray(begin, begin + headDim),
              keys,
              values,
              window ? Math.max(0, end - window) : 0,
              end,
              scale,
              cap,
              sinks ? [sinks[h]] : [],
            );
            const actual = instance.floats(out + 4 * begin, headDim);
            expected.forEach((e, j) =>
              assert(
                Math.abs(actual[j] - e) <= tolerance * (1 + Math.abs(e)),
                `round ${round}, token ${t}, head ${h}, ${j}: ${
                  actual[j]
                }, expected ${e}`,
              )
            );
          }
        }
        const gaps = Array.from(
          { length: tokens },
          (_, t) =>
            instance.words(out + 4 * (t * stride + heads * headDim), gap),
        );
        assert(gaps.every((words) => words.every((w) => w === 2 ** 32 - 1)));
      }
    });
  }

  Deno.test(`${build}: rows share the pages that they read`, () => {
    const read = (tokens: number, heads: number) => {
      instance.reset();
      const [q, page] = [instance.allocate(4 * 8 * 64), pageOf("f16", 8)];
      instance.floats(q, 8 * 64).fill(0);
      instance.bytes(page, 32 * cpuPositionBytes("f16", 8)).fill(0);
      const table = instance.put(Uint32Array.of(page));
      const out = instance.allocate(4 * 8 * 64);
      const stride = 8 * heads;
      const rest = [table, 10, 0, 1, 0, 0, out, stride] as const;
      return kernels.attention(1, q, stride, tokens, heads, 8, ...rest);
    };
    assert.equal(read(1, 1), 10);
    assert.equal(read(4, 4), 13);
    assert.equal(read(16, 1), 25);
    // 16 rows a pass: tokens 0 to 3, then 4 to 7.
    assert.equal(read(8, 4), 13 + 17);
    // 15 rows end with token 4, of which one row is left, and sees 14.
    assert.equal(read(6, 3), 15 + 15);
  });

  Deno.test(`${build}: what is not a number stays so`, () => {
    for (const type of types) {
      instance.reset();
      const page = pageOf(type, 8);
      const zeros = instance.put(new Float32Array(8));
      const q = instance.put(Float32Array.of(1, 2, NaN, 4, 5, 6, 7, 8));
      for (let slot = 0; slot < 3; slot++) {
        kernels.kv_store(typeIds[type], zeros, zeros, 8, page, slot);
      }
      const out = instance.allocate(32);
      const table = instance.put(Uint32Array.of(page));
      kernels.attention(
        typeIds[type],
        q,
        8,
        1,
        1,
        8,
        table,
        3,
        0,
        1,
        0,
        0,
        out,
        8,
      );
      assert(instance.floats(out, 8).every(Number.isNaN), type);
    }
  });
}
