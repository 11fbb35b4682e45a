/**
 * The model in plain TypeScript, naive and readable: the definition of right.
 * Weights are dequantised to f32, sums run in f64, and every row is computed,
 * whatever the sparsity mode; the modes only decide which h count.
 */
import type { ByteSource } from "../../bytes/byte_source.ts";
import { dequantise } from "../../formats/ggml/dequantise.ts";
import { quantise } from "../../formats/ggml/quantise.ts";
import { ggmlTypes } from "../../formats/ggml/types.ts";
import type { Activation } from "../../model/activation.ts";
import { indexAt, lengthOf, numbering, spanOf } from "../../model/index_set.ts";
import type { Model } from "../../model/model.ts";
import { ropeAngles, ropeFrequencies } from "../../model/rope.ts";
import { eachTensor, mapTensors, type PerTensor } from "../../model/schema.ts";
import {
  allShards,
  readColumns,
  readRows,
  type Shard,
} from "../../model/shard.ts";
import { kvHeadsOf, type PlacePlan } from "../../plan/plan.ts";
import { shardsOf } from "../../plan/shards.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import { type Batch, pagePositions } from "../batch.ts";
import type { CacheType } from "../cache_type.ts";
import type { CpuSidePlace } from "../place.ts";
import { LayerCounts } from "../stats.ts";

/** A shard's weights, `[rows, columns]` row-major. */
interface Matrix {
  readonly shard: Shard;
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

type Weights = PerTensor<Matrix>;

/** Holds parts of a model as f32 numbers in JavaScript memory: for small models. */
export class ReferencePlace implements CpuSidePlace {
  readonly weightBytes: number = 0;
  readonly counts: LayerCounts;
  readonly #frequencies: Float64Array;
  /** One for each token of the step, `[hiddenSize]` */
  #residual: Float32Array[] = [];
  #partial: Float32Array[] = [];
  /** Of the stage, to be added to the residual once, with the first partial */
  #bias?: Float32Array;
  /** h of each token, `[neurons of the part]` */
  #h: Float32Array[] = [];
  #logits: Float32Array[] = [];
  /** Keys and values, `[layer][page][position in page]`, rows of this part's KV heads */
  readonly #keys: Float32Array[][][];
  readonly #values: Float32Array[][][];

  private constructor(
    readonly model: Model,
    readonly plan: PlacePlan,
    readonly sparsity: Sparsity,
    readonly weights: Weights,
    readonly cacheType: CacheType,
  ) {
    for (const { values } of eachTensor(weights)) {
      this.weightBytes += values.byteLength;
    }
    this.counts = new LayerCounts(model.layers.length);
    this.#frequencies = ropeFrequencies(model, weights.rope_freqs?.values);
    this.#keys = model.layers.map(() => []);
    this.#values = model.layers.map(() => []);
  }

  /** Reads and dequantises what `plan` names, which has no `outputs`: it computes all of its own heads and neurons. Keys and values are rounded to what `cacheType` holds. */
  static async load(
    model: Model,
    plan: PlacePlan,
    sparsity: Sparsity,
    source: ByteSource,
    cacheType: CacheType = "f32",
  ): Promise<ReferencePlace> {
    const shards = shardsOf(model, plan);
    const matrices = new Map<Shard, Matrix>();
    for (const shard of allShards(shards)) {
      matrices.set(shard, await loadMatrix(source, shard));
    }
    const weights = mapTensors(shards, (shard) => matrices.get(shard)!);
    return new ReferencePlace(model, plan, sparsity, weights, cacheType);
  }

  reserve(count: number): number {
    for (const pages of [...this.#keys, ...this.#values]) {
      while (pages.length < count) pages.push([]);
    }
    return count;
  }

  begin(batch: Batch): void {
    for (const pages of [...this.#keys, ...this.#values]) {
      for (let i = 0; i < batch.copyCount; i++) {
        const from = batch.copies[2 * i], to = batch.copies[2 * i + 1];
        pages[to] = [...pages[from]];
      }
    }
  }

  embed(batch: Batch): void {
    const { vocab } = this.plan;
    const { token_embd } = this.weights;
    this.#bias = undefined;
    this.#residual = Array.from(
      { length: batch.length },
      () => new Float32Array(this.model.hiddenSize),
    );
    this.#partial = this.#residual.map((zeros, t) => {
      const id = batch.tokens[t];
      const held = id >= vocab.start && id < vocab.end;
      return (held ? rowOf(token_embd, id - vocab.start) : zeros).slice();
    });
  }

  attention(layer: number, batch: Batch): void {
    const { model } = this;
    const { heads } = this.plan.parts[layer];
    const weights = this.weights.layers[layer];
    const kvHeads = kvHeadsOf(model, heads);
    const group = model.headCount / model.kvHeadCount;
    const keys = this.#keys[layer], values = this.#values[layer];

    const queries = this.#residual.map((x, t) => {
      const position = batch.positions[t];
      const page = batch.pageOf(t, position);
      const n = rmsNorm(x, weights.attn_norm, model.rmsEpsilon);
      const k = multiply(weights.attn_k, n, weights.attn_k_bias);
      const q = multiply(weights.attn_q, n, weights.attn_q_bias);
      this.#rotate(k, position);
      this.#rotate(q, position);
      const v = multiply(weights.attn_v, n, weights.attn_v_bias);
      const { cacheType, model: { headSize } } = this;
      keys[page][position % pagePositions] = asCached(cacheType, k, headSize);
      values[page][position % pagePositions] = asCached(cacheType, v, headSize);
      return q;
    });

    this.#bias = weights.attn_output_bias?.values;
    const columns = weights.attn_output.shard.columns;
    this.#partial = queries.map((q, t) => {
      const position = batch.positions[t];
      const first = Math.max(0, position + 1 - (model.slidingWindow ?? 1e9));
      const out = new Float32Array(weights.attn_output.columns);
      for (let head = heads.start; head < heads.end; head++) {
        const own = (head - heads.start) * model.headSize;
        const kv = (Math.floor(head / group) - kvHeads.start) * model.headSize;
        const at = head * model.headSize - spanOf(columns).start;
        const scores: number[] = [];
        for (let p = first; p <= position; p++) {
          const key = keys[batch.pageOf(t, p)][p % pagePositions];
          let dot = 0;
          for (let i = 0; i < model.headSize; i++) {
            dot += q[own + i] * key[kv + i];
          }
          scores.push(dot / Math.sqrt(model.headSize));
        }
        softmax(scores).forEach((weight, i) => {
          const p = first + i;
          const value = values[batch.pageOf(t, p)][p % pagePositions];
          for (let j = 0; j < model.headSize; j++) {
            out[at + j] += weight * value[kv + j];
          }
        });
      }
      return multiply(weights.attn_output, out);
    });
  }

  ffnActivations(layer: number, _batch: Batch): void {
    const { model, sparsity, counts } = this;
    const weights = this.weights.layers[layer];
    this.#h = this.#residual.map((x) => {
      const n = rmsNorm(x, weights.ffn_norm, model.rmsEpsilon);
      const gate = multiply(weights.ffn_gate, n, weights.ffn_gate_bias);
      const up = multiply(weights.ffn_up, n, weights.ffn_up_bias);
      const h = gate.map((g, j) => activate(model.activation, g, up[j]));
      counts.add(layer, "neurons", h.length);
      counts.add(layer, "gateRows", h.length);
      counts.add(layer, "upRows", h.length);
      counts.add(layer, "downRows", h.length);
      if (sparsity.mode === "predictor") {
        this.#predict(layer, model.linearPredictor ? n : x, h);
      }
      counts.add(layer, "gatePositive", gate.filter((g) => g > 0).length);
      counts.add(layer, "active", h.filter(Boolean).length);
      if (sparsity.mode === "threshold") dropBelow(h, sparsity.value);
      return h;
    });
  }

  neurons(): Float32Array[] {
    return this.#h;
  }

  keepAbove(_batch: Batch, thresholds: Float32Array): void {
    this.#h.forEach((h, t) => dropBelow(h, thresholds[t]));
  }

  down(layer: number, _batch: Batch): void {
    const { ffn_down, ffn_down_t, ffn_down_bias } = this.weights.layers[layer];
    this.#bias = ffn_down_bias?.values;
    const { neurons } = this.plan.parts[layer];
    this.#partial = this.#h.map((h) => {
      if (ffn_down) {
        const wide = new Float32Array(ffn_down.columns);
        const columnOf = numbering(ffn_down.shard.columns);
        h.forEach((value, j) => wide[columnOf(indexAt(neurons, j))] = value);
        return multiply(ffn_down, wide);
      }
      const out = new Float64Array(this.model.hiddenSize);
      h.forEach((value, j) => {
        const row = rowOf(ffn_down_t!, j);
        if (value) row.forEach((weight, i) => out[i] += value * weight);
      });
      return Float32Array.from(out);
    });
  }

  head(batch: Batch): void {
    const { output, output_norm } = this.weights;
    this.#logits = this.#residual
      .filter((_, t) => batch.wantLogits[t])
      .map((x) =>
        multiply(output, rmsNorm(x, output_norm, this.model.rmsEpsilon))
      );
  }

  /** It needs no inputs of others. */
  putInputs(): void {}

  /** It needs no inputs of others. */
  takeInputs(): void {}

  terms(): Float32Array[] {
    return [joined(this.#partial)];
  }

  residual(_batch: Batch): Float32Array {
    return joined(this.#residual);
  }

  setResidual(residual: Float32Array, batch: Batch): void {
    const stride = residual.length / batch.length;
    const { hiddenSize } = this.model;
    this.#residual = Array.from(
      { length: batch.length },
      (_, t) => residual.slice(t * stride, t * stride + hiddenSize),
    );
  }

  accumulate(terms: readonly Float32Array[]): void {
    const bias = this.#bias;
    this.#bias = undefined;
    this.#residual.forEach((x, t) => {
      for (const term of terms) {
        const first = t * term.length / this.#residual.length;
        for (let i = 0; i < x.length; i++) x[i] += term[first + i];
      }
      bias?.forEach((value, i) => x[i] += value);
    });
  }

  logits(): Float32Array[] {
    return this.#logits;
  }

  /**
   * Drops what the predictor does not select: score = fc2 · relu(fc1 · x), x
   * before the norm; of a linear one fc2 · fc1 · x, x normed.
   */
  #predict(layer: number, x: Float32Array, h: Float32Array): void {
    const { fc1, fc2 } = this.weights.layers[layer];
    if (!fc1 || !fc2 || this.sparsity.mode !== "predictor") return;
    const { linearPredictor, sparseThresholds } = this.model;
    const threshold = this.sparsity.threshold ?? sparseThresholds[layer];
    const z = multiply(fc1, x);
    const score = multiply(
      fc2,
      linearPredictor ? z : z.map((v) => Math.max(v, 0)),
    );
    h.forEach((value, j) => {
      const asked = score[j] >= threshold;
      if (asked) this.counts.add(layer, "predicted", 1);
      if (value !== 0) {
        this.counts.add(layer, "truth", 1);
        this.counts.add(layer, "truthMass", Math.abs(value));
        if (asked) {
          this.counts.add(layer, "recalled", 1);
          this.counts.add(layer, "recalledMass", Math.abs(value));
        }
      }
      if (!asked) h[j] = 0;
    });
  }

  #rotate(heads: Float32Array, position: number): void {
    const { headSize, ropeSize } = this.model;
    const angles = new Float32Array(ropeSize);
    ropeAngles(this.#frequencies, position, angles);
    for (let head = 0; head < heads.length; head += headSize) {
      for (let i = 0; i < ropeSize; i += 2) {
        const cos = angles[i], sin = angles[i + 1];
        const a = heads[head + i], b = heads[head + i + 1];
        heads[head + i] = a * cos - b * sin;
        heads[head + i + 1] = a * sin + b * cos;
      }
    }
  }
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.length * (rows[0]?.length ?? 0));
  rows.forEach((row, t) => all.set(row, t * row.length));
  return all;
}

async function loadMatrix(source: ByteSource, shard: Shard): Promise<Matrix> {
  const rows = lengthOf(shard.rows), columns = lengthOf(shard.columns);
  const values = new Float32Array(rows * columns);
  const read = readColumns(shard);
  for await (const { first, count, bytes } of readRows(source, shard)) {
    const whole = new Float32Array(count * read.length);
    dequantise(shard.tensor.type, bytes, whole);
    for (let row = 0; row < count; row++) {
      const start = row * read.length + read.first;
      const own = whole.subarray(start, start + columns);
      values.set(own, (first + row) * columns);
    }
  }
  return { shard, rows, columns, values };
}

function rowOf(matrix: Matrix, row: number): Float32Array {
  const { columns, values } = matrix;
  return values.subarray(row * columns, (row + 1) * columns);
}

/** matrix · x + bias */
function multiply(
  matrix: Matrix,
  x: Float32Array,
  bias?: Matrix,
): Float32Array {
  const { rows, columns, values } = matrix;
  const out = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = bias?.values[row] ?? 0;
    const start = row * columns;
    for (let i = 0; i < columns; i++) sum += values[start + i] * x[i];
    out[row] = sum;
  }
  return out;
}

/** x / rms(x) · weight (Zhang & Sennrich 2019, arXiv 1910.07467). */
function rmsNorm(
  x: Float32Array,
  weight: Matrix,
  epsilon: number,
): Float32Array {
  let squares = 0;
  for (const value of x) squares += value * value;
  const scale = 1 / Math.sqrt(squares / x.length + epsilon);
  return x.map((value, i) => value * scale * weight.values[i]);
}

function softmax(scores: number[]): number[] {
  const largest = scores.reduce((most, score) => Math.max(most, score));
  const weights = scores.map((score) => Math.exp(score - largest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function activate(activation: Activation, g: number, u: number): number {
  switch (activation) {
    case "drelu":
      return Math.max(g, 0) * Math.max(u, 0);
    case "reglu":
      return Math.max(g, 0) * u;
    case "swiglu":
      return g / (1 + Math.exp(-g)) * u;
  }
}

function dropBelow(h: Float32Array, threshold: number): void {
  h.forEach((value, j) => {
    if (Math.abs(value) <= threshold) h[j] = 0;
  });
}

/** Stores heads of `headSize` elements, each padded to whole blocks, and reads them back. */
export function asCached(
  cacheType: CacheType,
  heads: Float32Array,
  headSize: number,
): Float32Array {
  const type = ({ f32: "F32", f16: "F16", q8_0: "Q8_0" } as const)[cacheType];
  const { blockSize } = ggmlTypes[type];
  const out = new Float32Array(heads.length);
  const head = new Float32Array(Math.ceil(headSize / blockSize) * blockSize);
  for (let start = 0; start < heads.length; start += headSize) {
    head.fill(0).set(heads.subarray(start, start + headSize));
    dequantise(type, quantise(type, head), head);
    out.set(head.subarray(0, headSize), start);
  }
  return out;
}
