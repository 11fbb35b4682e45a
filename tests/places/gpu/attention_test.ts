/**
 * The two kernels of attention against a scalar twin: rotation, pages in each
 * type of the cache, softmax in f64.
 */
import assert from "node:assert/strict";
import { ropeAngles } from "../../../src/model/rope.ts";
import {
  type CacheType,
  cacheTypes,
  kvPositionBytes,
} from "../../../src/places/cache_type.ts";
import {
  attention,
  attentionMerge,
  paddedHead,
  ropeStore,
  ropeStoreGrid,
} from "../../../src/places/gpu/kernels/attention.ts";
import {
  putHeader,
  stepWords,
} from "../../../src/places/gpu/kernels/step_words.ts";
import { asCached } from "../../../src/places/reference/reference_place.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { Bench, stepOf } from "./on_device.ts";

interface Case {
  readonly headSize: number;
  readonly ropeSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Query heads of a key and value head, and the first one's number among its own */
  readonly group: number;
  readonly shift: number;
  readonly window?: number;
  /** Scores are capped at this */
  readonly cap?: number;
  /** Query and key heads are normed */
  readonly isNormed?: true;
  /** Each query head has a score that no position has */
  readonly isSunk?: true;
  /** Rotations before the layer's own among a token's angles */
  readonly rotation?: number;
}

const cases: Case[] = [
  { headSize: 64, ropeSize: 64, heads: 4, kvHeads: 2, group: 2, shift: 0 },
  { headSize: 10, ropeSize: 10, heads: 3, kvHeads: 3, group: 1, shift: 0 },
  {
    headSize: 12,
    ropeSize: 0,
    heads: 3,
    kvHeads: 3,
    group: 1,
    shift: 0,
    cap: 0.7,
  },
  { headSize: 100, ropeSize: 36, heads: 4, kvHeads: 2, group: 3, shift: 2 },
  {
    headSize: 300,
    ropeSize: 300,
    heads: 2,
    kvHeads: 1,
    group: 2,
    shift: 0,
    isNormed: true,
  },
  {
    headSize: 24,
    ropeSize: 24,
    heads: 4,
    kvHeads: 2,
    group: 2,
    shift: 0,
    isNormed: true,
  },
  {
    headSize: 33,
    ropeSize: 8,
    heads: 2,
    kvHeads: 1,
    group: 2,
    shift: 0,
    window: 41,
    rotation: 2,
    isSunk: true,
  },
];

/** Pages lie in no order. */
const pageOf = (index: number) => (7 * index + 3) % 11;

/** Steps of a sequence: its tokens by number, all of them against the twin. */
const steps = [37, 1, 3, 250, 1];

function rotated(
  heads: Float32Array,
  { headSize, ropeSize }: Case,
  angles: Float32Array,
): Float32Array {
  const out = heads.slice();
  for (let head = 0; head < heads.length; head += headSize) {
    for (let i = 0; i < ropeSize; i += 2) {
      const [a, b] = [heads[head + i], heads[head + i + 1]];
      const [cos, sin] = [angles[i], angles[i + 1]];
      out[head + i] = a * cos - b * sin;
      out[head + i + 1] = a * sin + b * cos;
    }
  }
  return out;
}

/** Heads normed by `weights` of each. */
function normed(heads: Float32Array, weights: Float32Array): Float32Array {
  const { length } = weights;
  const out = heads.slice();
  for (let at = 0; at < heads.length; at += length) {
    const head = heads.subarray(at, at + length);
    const squares = head.reduce((sum, value) => sum + value * value, 0);
    const scale = 1 / Math.sqrt(squares / length + epsilon);
    out.set(head.map((value, i) => value * scale * weights[i]), at);
  }
  return out;
}

const epsilon = 1e-3;

/** One query head's attention over keys and values, `[position][headSize]`. */
function attended(
  query: Float32Array,
  keys: Float32Array[],
  values: Float32Array[],
  cap?: number,
  sink = -Infinity,
): number[] {
  const scores = keys.map((key) => {
    const score = key.reduce((sum, k, i) => sum + k * query[i], 0) /
      Math.sqrt(query.length);
    return cap === undefined ? score : cap * Math.tanh(score / cap);
  });
  const highest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - highest));
  const total = weights.reduce(
    (sum, weight) => sum + weight,
    Math.exp(sink - highest),
  );
  return Array.from(
    query,
    (_, i) => values.reduce((sum, v, p) => sum + weights[p] * v[i], 0) / total,
  );
}

/** What queries of a position are multiplied by. */
const queryScale = (position: number) => 1 + position / 64;

/** A step's words: header, records with angles, the pages of one sequence. */
function words(
  positions: number[],
  { ropeSize, rotation = 0 }: Case,
  frequencies: Float64Array,
  splits: number,
): Uint32Array<ArrayBuffer> {
  const {
    header_words,
    record_position,
    record_pages,
    record_query_scale,
    record_angles,
  } = stepWords;
  const n = positions.length;
  const record = record_angles + (rotation + 1) * ropeSize;
  const pages = header_words + n * record;
  const all = new Uint32Array(pages + 11);
  putHeader(all, { token_count: n, token_words: record, split_count: splits });
  positions.forEach((position, t) => {
    const at = header_words + t * record;
    all[at + record_position] = position;
    all[at + record_pages] = pages;
    const angles = new Float32Array(
      all.buffer,
      4 * (at + record_angles + rotation * ropeSize),
      ropeSize,
    );
    ropeAngles(frequencies, position, angles);
    new Float32Array(all.buffer)[at + record_query_scale] = queryScale(
      position,
    );
  });
  for (let i = 0; i < 11; i++) all[pages + i] = pageOf(i);
  return all;
}

async function check(c: Case, type: CacheType): Promise<void> {
  const { headSize, ropeSize, heads, kvHeads, group, shift, window, cap } = c;
  const { isNormed = false, isSunk = false } = c;
  const stride = (heads + 2 * kvHeads) * headSize + 3;
  const outStride = 768;
  // Values before queries: where each begins is told.
  const first = { v: 1, q: 1 + kvHeads * headSize, k: 0 };
  first.k = first.q + heads * headSize;
  const frequencies = Float64Array.from(
    { length: ropeSize / 2 },
    (_, i) => 100 ** (-2 * i / ropeSize),
  );
  using bench = await Bench.open(stepOf(0));
  const positionBytes = kvPositionBytes(type, headSize);
  const kv = bench.buffer(
    new Uint32Array(11 * 32 * kvHeads * positionBytes / 4),
  );
  const kernels = {
    ropeStore: ropeStore(type),
    attention: attention(type),
  };
  const { pipelines, uniforms } = bench.context;
  const params = uniforms.add(kernels.attention, {
    heads,
    kv_heads: kvHeads,
    group,
    group_shift: shift,
    head_size: headSize,
    rope_size: ropeSize,
    angles: stepWords.record_angles + (c.rotation ?? 0) * ropeSize,
    quads: paddedHead(headSize, type) / 4,
    stride,
    q_first: first.q,
    k_first: first.k,
    v_first: first.v,
    out_stride: outStride,
    out_padded: 256 * Math.ceil(heads * headSize / 256),
    window: window ?? 0xffffffff,
    scale: 1 / Math.sqrt(headSize),
    cap: cap ?? 0,
    epsilon,
  });
  const weights = gaussianVector(2 * headSize, 77).map((value) =>
    1 + value / 4
  );
  const norm = bench.buffer(weights);
  const sunk = gaussianVector(heads, 78), sinks = bench.buffer(sunk);
  const asNormed = (heads: Float32Array, first: number) =>
    isNormed ? normed(heads, weights.subarray(first, first + headSize)) : heads;
  const keys: Float32Array[] = [], values: Float32Array[] = [];
  for (const n of steps) {
    const start = keys.length;
    const positions = Array.from({ length: n }, (_, t) => start + t);
    const qkv = gaussianVector(n * stride, start + 1);
    // More than there are tiles, so that some have none.
    const splits = n < 4 ? 3 : 1;
    const step = bench.buffer(words(positions, c, frequencies, splits));
    const input = bench.buffer(qkv);
    const out = bench.buffer(new Float32Array(n * outStride).fill(9));
    const splitResults = bench.buffer(
      new Float32Array(
        n * heads * splits * 4 * (paddedHead(headSize, "q8_0") / 4 + 1),
      ),
    );
    const own = { step, params, kv, qkv: input };
    const bound = pipelines.bind(kernels.attention, {
      ...own,
      sinks,
      out,
      splits: splitResults,
    });
    const result = await bench.run(() => {
      bench.commands.dispatch(
        pipelines.get(kernels.ropeStore, { normed: isNormed }),
        pipelines.bind(kernels.ropeStore, { ...own, norm }),
        ropeStoreGrid(heads + kvHeads, headSize, n, isNormed),
      );
      bench.commands.dispatch(
        pipelines.get(kernels.attention, {
          capped: cap !== undefined,
          sunk: isSunk,
        }),
        bound,
        [heads, n, splits],
      );
      if (splits > 1) {
        const merge = pipelines.get(attentionMerge);
        const grid = [heads, n] as const;
        bench.commands.dispatch(merge, bound, grid);
      }
    }, out);
    const angles = new Float32Array(ropeSize);
    const part = (t: number, at: number, count: number) =>
      qkv.subarray(t * stride + at, t * stride + at + count * headSize);
    for (let t = 0; t < n; t++) {
      ropeAngles(frequencies, positions[t], angles);
      const k = rotated(
        asNormed(part(t, first.k, kvHeads), headSize),
        c,
        angles,
      );
      keys.push(asCached(type, k, headSize));
      values.push(asCached(type, part(t, first.v, kvHeads), headSize));
      const q = rotated(asNormed(part(t, first.q, heads), 0), c, angles);
      const actual = new Float32Array(result, 4 * t * outStride, outStride);
      for (let head = 0; head < heads; head++) {
        const at = headSize * Math.floor((head + shift) / group);
        const from = Math.max(0, keys.length - (window ?? Infinity));
        const own = (rows: Float32Array[]) =>
          rows.slice(from).map((row) => row.subarray(at, at + headSize));
        const begin = head * headSize;
        const query = q.subarray(begin, begin + headSize)
          .map((value) => value * queryScale(positions[t]));
        const sink = isSunk ? sunk[head] : undefined;
        const expected = attended(query, own(keys), own(values), cap, sink);
        expected.forEach((value, i) => {
          const error = Math.abs(actual[begin + i] - value);
          // A stored number may be rounded to either neighbour.
          const limit = { f32: 1e-5, f16: 1e-3, q8_0: 1e-2 }[type];
          assert(error < limit, `head ${head} of token ${t}: off by ${error}`);
        });
      }
      const padded = 256 * Math.ceil(heads * headSize / 256);
      const rest = actual.subarray(heads * headSize);
      rest.forEach((value, i) =>
        assert.equal(value, heads * headSize + i < padded ? 0 : 9)
      );
    }
  }
}

for (const type of cacheTypes) {
  for (const c of cases) {
    testWithAdapter(
      `attention in ${type}: ${JSON.stringify(c)}`,
      () => check(c, type),
    );
  }
}
