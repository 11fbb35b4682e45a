/**
 * The model in plain TypeScript, naive and readable: the definition of right.
 * Weights are dequantised to f32, sums run in f64, and every row is computed,
 * whatever the sparsity mode; the modes only decide which h count.
 */
import type { ByteSource } from "../../bytes/byte_source.ts";
import { dequantise } from "../../formats/ggml/dequantise.ts";
import { quantise } from "../../formats/ggml/quantise.ts";
import { bfloat16ToFloat } from "../../formats/ggml/half.ts";
import { ggmlTypes, rowBytes } from "../../formats/ggml/types.ts";
import type { ChosenActivation } from "../../model/activation.ts";
import {
  chooseExperts,
  expertSize,
  heldExperts,
  withinExpert,
} from "../../model/experts.ts";
import {
  indexAt,
  type IndexSet,
  lengthOf,
  noIndices,
  numbering,
  type Range,
  spanOf,
} from "../../model/index_set.ts";
import type { Model } from "../../model/model.ts";
import { ropeAngles, ropeFactors, ropeFrequencies } from "../../model/rope.ts";
import { eachTensor, mapTensors, type PerTensor } from "../../model/schema.ts";
import {
  allShards,
  checkFinite,
  readColumns,
  readRows,
  type Shard,
} from "../../model/shard.ts";
import { queryScale } from "../../model/traits.ts";
import { kvHeadsOf, type PlacePlan } from "../../plan/plan.ts";
import type { Squares } from "../../plan/schedule.ts";
import { shardsOf } from "../../plan/shards.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import { type Batch, pagePositions } from "../batch.ts";
import type { CacheType } from "../cache_type.ts";
import { kvHeadsReadOf, kvLayerBytes } from "../kv_rows.ts";
import type { CpuSidePlace } from "../place.ts";
import { LayerCounts } from "../stats.ts";

/** A shard's weights, `[rows, columns]` row-major. */
interface Matrix {
  readonly shard: Shard;
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
  /** Whether what it is multiplied by is rounded */
  readonly roundsInput: boolean;
}

/** How a reference differs from f32 numbers all through. */
export interface ReferenceRounding {
  /** Keys and values are rounded to what it holds: `f32` where left out */
  readonly cacheType?: CacheType;
  /** Whether what matrices of integers are multiplied by is rounded as a GPU does it: to 8 bits, in blocks of 32 */
  readonly roundsInputs?: boolean;
}

type Weights = PerTensor<Matrix>;

/** Values of heads, or neurons, that are normed as one with those of other places. */
interface Normed {
  /** Of each token */
  readonly values: readonly Float32Array[];
  /** Elements whose squares are summed */
  readonly unit: number;
  /** Where the sums of all places lie */
  readonly columns: Range;
  /** The head, or neuron, of the place's sum number `i` */
  readonly idOf: (i: number) => number;
  /** Of all, or of the place's own */
  readonly weight: Matrix;
}

/** Queries, keys and values of one token, `[heads of the part, headSize]` each. */
interface Heads {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** The experts that one token chose, ascending, and what each counts. */
interface Choice {
  readonly experts: Uint32Array;
  readonly weights: Float64Array;
}

/** Holds parts of a model as f32 numbers in JavaScript memory: for small models. */
export class ReferencePlace implements CpuSidePlace {
  readonly weightBytes: number = 0;
  readonly counts: LayerCounts;
  /** Of each rotation */
  readonly #frequencies: readonly Float64Array[];
  /** One for each token of the step, `[hiddenSize]` */
  #residual: Float32Array[] = [];
  #partial: Float32Array[] = [];
  /** What becomes of the stage's sum before it is added to the residual */
  #finish: (sum: Float32Array, token: number) => Float32Array = (sum) => sum;
  /** Of each token: the head's queries, keys and values */
  #heads: Heads[] = [];
  /** What heads computed, at the columns of `attn_output` */
  #inputs: Float32Array[] = [];
  /** What each token's router chose; empty where there is none */
  #choices: Choice[] = [];
  /** The experts of the layer whose neurons are here, those within each of them, and how many */
  #experts: {
    readonly held: readonly number[];
    readonly within: IndexSet;
    readonly size: number;
  } = { held: [], within: noIndices, size: 0 };
  /** h of each token, `[neurons of the part]`; 0 of experts that it did not choose */
  #h: Float32Array[] = [];
  #logits: Float32Array[] = [];
  #states: Float32Array[] = [];
  /** Keys and values, `[layer][page][position in page]`, rows of this part's KV heads */
  readonly #keys: Float32Array[][][];
  readonly #values: Float32Array[][][];

  private constructor(
    readonly model: Model,
    readonly plan: PlacePlan,
    readonly sparsity: Sparsity,
    readonly weights: Weights,
    readonly cacheType: CacheType,
    contextSize: number,
  ) {
    for (const { values } of eachTensor(weights)) {
      this.weightBytes += values.byteLength;
    }
    this.counts = new LayerCounts(model.layers.length);
    const factors = ropeFactors(weights, model, contextSize)?.values;
    this.#frequencies = model.rotations.map((rotation) =>
      ropeFrequencies(rotation, model.ropeSize, factors)
    );
    this.#keys = model.layers.map(() => []);
    this.#values = model.layers.map(() => []);
  }

  /** Reads and dequantises what `plan` names, which has no `outputs`: it computes all of its own heads and neurons. */
  static async load(
    model: Model,
    plan: PlacePlan,
    sparsity: Sparsity,
    source: ByteSource,
    { cacheType = "f32", roundsInputs = false }: ReferenceRounding = {},
    contextSize = model.contextSize,
  ): Promise<ReferencePlace> {
    const shards = shardsOf(model, plan);
    const matrices = new Map<Shard, Matrix>();
    for (const shard of allShards(shards)) {
      matrices.set(shard, await loadMatrix(source, shard, roundsInputs));
    }
    const weights = mapTensors(shards, (shard) => matrices.get(shard)!);
    return new ReferencePlace(
      model,
      plan,
      sparsity,
      weights,
      cacheType,
      contextSize,
    );
  }

  reserve(count: number): number {
    for (const pages of [...this.#keys, ...this.#values]) {
      while (pages.length < count) pages.push([]);
    }
    return count;
  }

  readPage(layer: number, page: number, rows: Uint8Array): void {
    const { model, plan } = this, { heads } = plan.parts[layer];
    const { start, end } = kvHeadsReadOf(model, heads);
    for (let kvHead = start; kvHead < end; kvHead++) {
      this.#eachKvRow(layer, page, kvHead, rows, (values, row) => {
        row.set(asKvRow(this.cacheType, values));
      });
    }
  }

  writePage(layer: number, page: number, rows: Uint8Array): void {
    const { start, end } = kvHeadsOf(this.model, this.plan.parts[layer].heads);
    for (let kvHead = start; kvHead < end; kvHead++) {
      this.#eachKvRow(layer, page, kvHead, rows, (values, row) => {
        values.set(ofKvRow(this.cacheType, row, values.length));
      });
    }
  }

  /** Calls `act` with each key and value of a head in a page, and its row in the layer's. */
  #eachKvRow(
    layer: number,
    page: number,
    kvHead: number,
    rows: Uint8Array,
    act: (values: Float32Array, row: Uint8Array) => void,
  ): void {
    const { model: { headSize, kvHeadCount }, plan, cacheType } = this;
    const kvHeads = kvHeadsOf(this.model, plan.parts[layer].heads);
    const width = lengthOf(kvHeads) * headSize;
    const first = (kvHead - kvHeads.start) * headSize;
    const bytes = kvLayerBytes({ headSize, kvHeadCount, cacheType }) /
      (2 * kvHeadCount);
    for (let position = 0; position < pagePositions; position++) {
      [this.#keys, this.#values].forEach((sides, side) => {
        // Pages that parted still share rows.
        const heads = sides[layer][page][position]?.slice() ??
          new Float32Array(width);
        sides[layer][page][position] = heads;
        const at = bytes * (2 * (position * kvHeadCount + kvHead) + side);
        act(
          heads.subarray(first, first + headSize),
          rows.subarray(at, at + bytes),
        );
      });
    }
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
    this.#finish = (sum) => sum;
    const { hiddenSize, embeddingScale } = this.model;
    this.#residual = Array.from(
      { length: batch.length },
      () => new Float32Array(hiddenSize),
    );
    this.#partial = this.#residual.map((zeros, t) => {
      const id = batch.tokens[t];
      const held = id >= vocab.start && id < vocab.end;
      const row = held ? rowOf(token_embd, id - vocab.start) : zeros;
      return row.map((value) => value * embeddingScale);
    });
  }

  project(layer: number, _batch: Batch): void {
    const { weights: { layers } } = this, weights = layers[layer];
    this.#heads = this.#residual.map((x) => {
      const n = this.#norm(x, weights.attn_norm, weights.attn_norm_bias);
      return {
        q: multiply(weights.attn_q, n, weights.attn_q_bias),
        k: multiply(weights.attn_k, n, weights.attn_k_bias),
        v: multiply(weights.attn_v, n, weights.attn_v_bias),
      };
    });
  }

  putSquares(
    of: Squares,
    layer: number,
    _batch: Batch,
    rows: Float32Array,
  ): void {
    for (const { values, unit, columns, idOf } of this.#normed(of, layer)) {
      values.forEach((own, t) => {
        const first = t * rows.length / values.length + columns.start;
        for (let i = 0; i < own.length; i += unit) {
          rows[first + idOf(i / unit)] = squaresOf(own.subarray(i, i + unit));
        }
      });
    }
  }

  takeSquares(
    of: Squares,
    layer: number,
    _batch: Batch,
    rows: Float32Array,
  ): void {
    const { normEpsilon } = this.model;
    for (
      const { values, unit, columns, idOf, weight } of this.#normed(of, layer)
    ) {
      values.forEach((own, t) => {
        const first = t * rows.length / values.length;
        const { start, end } = columns;
        const squares = rows.subarray(first + start, first + end)
          .reduce((sum, each) => sum + each, 0);
        const mean = squares / ((end - start) * unit);
        const scale = 1 / Math.sqrt(mean + normEpsilon);
        own.forEach((value, i) => {
          const at = idOf(Math.floor(i / unit)) * unit + i % unit;
          own[i] = value * scale * weight.values[at - firstOf(weight)];
        });
      });
    }
  }

  /** What is normed as one with that of other places: its heads, or neurons. */
  #normed(of: Squares, layer: number): Normed[] {
    const { model } = this, { headSize, headCount, kvHeadCount } = model;
    const { heads, neurons } = this.plan.parts[layer];
    const weights = this.weights.layers[layer];
    if (of === "neuron-squares") {
      return [{
        values: this.#h,
        unit: 1,
        columns: { start: 0, end: model.feedForwardSize },
        idOf: (i) => indexAt(neurons, i),
        weight: weights.ffn_sub_norm!,
      }];
    }
    const ofHeads = (
      values: Float32Array[],
      { start }: Range,
      columns: Range,
      weight: Matrix,
    ) => ({
      values,
      unit: headSize,
      columns,
      idOf: (i: number) => start + i,
      weight,
    });
    const queries = { start: 0, end: headCount };
    if (of === "head-squares") {
      const first = heads.start * headSize -
        spanOf(weights.attn_output.shard.columns).start;
      const own = this.#inputs.map((row) =>
        row.subarray(first, first + lengthOf(heads) * headSize)
      );
      return [ofHeads(own, heads, queries, weights.attn_sub_norm!)];
    }
    const keys = { start: headCount, end: headCount + kvHeadCount };
    const kvHeads = kvHeadsOf(model, heads);
    const [q, k] = [
      this.#heads.map(({ q }) => q),
      this.#heads.map(({ k }) => k),
    ];
    return [
      ofHeads(q, heads, queries, weights.attn_q_norm!),
      ofHeads(k, kvHeads, keys, weights.attn_k_norm!),
    ];
  }

  attention(layer: number, batch: Batch): void {
    const { model, cacheType } = this;
    const { headSize } = model;
    const { heads } = this.plan.parts[layer];
    const weights = this.weights.layers[layer];
    const kvHeads = kvHeadsOf(model, heads);
    const group = model.headCount / model.kvHeadCount;
    const keys = this.#keys[layer], values = this.#values[layer];
    const { window = Infinity } = model.attention[layer];

    this.#heads.forEach(({ q, k, v }, t) => {
      const position = batch.positions[t];
      const page = batch.pageOf(t, position);
      if (model.qkNorm === "head") {
        this.#normHeads(q, weights.attn_q_norm!);
        this.#normHeads(k, weights.attn_k_norm!);
      }
      this.#rotate(layer, k, position);
      this.#rotate(layer, q, position);
      const scale = queryScale(model, position);
      q.forEach((value, i) => q[i] = value * scale);
      keys[page][position % pagePositions] = asCached(cacheType, k, headSize);
      values[page][position % pagePositions] = asCached(cacheType, v, headSize);
    });

    const columns = weights.attn_output.shard.columns;
    this.#inputs = this.#heads.map(({ q }, t) => {
      const position = batch.positions[t];
      const first = Math.max(0, position + 1 - window);
      const out = new Float32Array(weights.attn_output.columns);
      for (let head = heads.start; head < heads.end; head++) {
        const own = (head - heads.start) * headSize;
        const kv = (Math.floor(head / group) - kvHeads.start) * headSize;
        const at = head * headSize - spanOf(columns).start;
        const scores: number[] = [];
        for (let p = first; p <= position; p++) {
          const key = keys[batch.pageOf(t, p)][p % pagePositions];
          let dot = 0;
          for (let i = 0; i < headSize; i++) {
            dot += q[own + i] * key[kv + i];
          }
          scores.push(capped(dot * model.attentionScale, model.scoreCap));
        }
        if (weights.attn_sinks) {
          scores.push(weights.attn_sinks.values[head - heads.start]);
        }
        const shares = softmax(scores).slice(0, position + 1 - first);
        shares.forEach((weight, i) => {
          const p = first + i;
          const value = values[batch.pageOf(t, p)][p % pagePositions];
          for (let j = 0; j < headSize; j++) {
            out[at + j] += weight * value[kv + j];
          }
        });
      }
      return out;
    });
  }

  attentionOutput(layer: number, _batch: Batch): void {
    const { attn_output, attn_output_bias, post_attention_norm } =
      this.weights.layers[layer];
    this.#partial = this.#inputs.map((x) => multiply(attn_output, x));
    this.#finishWith(attn_output_bias, post_attention_norm);
  }

  route(layer: number, _batch: Batch): void {
    const { ffn_norm, ffn_norm_bias } = this.weights.layers[layer];
    const { readsLayerInput } = this.model.routing!;
    this.#choices = this.#residual.map((x) =>
      this.#route(
        layer,
        readsLayerInput ? x : this.#norm(x, ffn_norm, ffn_norm_bias),
      )
    );
  }

  putChoices(_batch: Batch, choices: Uint32Array): void {
    const counts = new Float32Array(choices.buffer, choices.byteOffset);
    this.#choices.forEach(({ experts, weights }, t) =>
      experts.forEach((expert, slot) => {
        const at = 2 * (t * experts.length + slot);
        choices[at] = expert;
        counts[at + 1] = weights[slot];
      })
    );
  }

  takeChoices(batch: Batch, choices: Uint32Array): void {
    const counts = new Float32Array(choices.buffer, choices.byteOffset);
    const { used } = this.model.routing!;
    const slots = Array.from({ length: used }, (_, slot) => slot);
    this.#choices = Array.from({ length: batch.length }, (_, t) => {
      const at = slots.map((slot) => 2 * (t * used + slot));
      return {
        experts: Uint32Array.from(at, (i) => choices[i]),
        weights: Float64Array.from(at, (i) => counts[i + 1]),
      };
    });
  }

  ffnActivations(layer: number, batch: Batch): void {
    const { model, sparsity, counts } = this;
    const { neurons } = this.plan.parts[layer];
    const within = withinExpert(model, neurons);
    this.#experts = {
      held: heldExperts(model, neurons),
      within,
      size: lengthOf(within),
    };
    const weights = this.weights.layers[layer];
    const normed = this.#residual.map((x) =>
      this.#norm(x, weights.ffn_norm, weights.ffn_norm_bias)
    );
    this.#h = normed.map((n, t) => {
      const up = multiply(weights.ffn_up, n, weights.ffn_up_bias);
      const gate = weights.ffn_gate &&
        multiply(weights.ffn_gate, n, weights.ffn_gate_bias);
      const h = gate
        ? gate.map((g, j) => activate(model, g, up[j]))
        : up.map((u) => activate(model, u));
      const routes = this.#weightsOf(layer, t);
      h.forEach((value, j) => h[j] = routes[j] && routes[j] * value);
      const computed = routes.filter(Boolean).length;
      counts.add(layer, "neurons", computed);
      counts.add(layer, "gateRows", gate ? computed : 0);
      counts.add(layer, "upRows", computed);
      counts.add(layer, "downRows", computed);
      if (sparsity.mode === "predictor") {
        const x = model.linearPredictor ? n : this.#residual[t];
        const stated = sparsity.threshold ?? model.sparseThresholds[layer];
        this.#predict(layer, x, h, routes, batch.modeValueOf(layer, t, stated));
      }
      const gates = (gate ?? up)
        .filter((g, j) => routes[j] && g > model.gateThreshold);
      counts.add(layer, "gatePositive", gates.length);
      counts.add(layer, "active", h.filter(Boolean).length);
      if (sparsity.mode === "threshold") {
        dropBelow(h, batch.modeValueOf(layer, t, sparsity.value));
      }
      return h;
    });
  }

  neurons(): Float32Array[] {
    if (!this.model.routing) return this.#h;
    const { held, size } = this.#experts;
    return this.#h.map((h, t) =>
      joined(Array.from(this.#choices[t].experts, (expert) => {
        const i = held.indexOf(expert);
        return i < 0
          ? new Float32Array(size)
          : h.subarray(i * size, (i + 1) * size);
      }))
    );
  }

  keepAbove(_batch: Batch, thresholds: Float32Array): void {
    this.#h.forEach((h, t) => dropBelow(h, thresholds[t]));
  }

  down(layer: number, _batch: Batch): void {
    const { ffn_down, ffn_down_t, ffn_down_bias, post_ffw_norm } =
      this.weights.layers[layer];
    const { within, held, size } = this.#experts;
    this.#finishWith(ffn_down_bias, post_ffw_norm);
    this.#partial = this.#h.map((h) => {
      const out = new Float64Array(this.model.hiddenSize);
      if (ffn_down) {
        const columnOf = numbering(ffn_down.shard.columns);
        for (let expert = 0; expert < held.length; expert++) {
          const own = h.subarray(expert * size, (expert + 1) * size);
          if (own.every((value) => value === 0)) continue;
          const wide = new Float32Array(ffn_down.columns);
          own.forEach((value, j) => wide[columnOf(indexAt(within, j))] = value);
          multiply(expertOf(ffn_down, expert, held.length), wide)
            .forEach((value, i) => out[i] += value);
        }
      } else {
        h.forEach((value, j) => {
          const row = rowOf(ffn_down_t!, j);
          if (value) row.forEach((weight, i) => out[i] += value * weight);
        });
      }
      return Float32Array.from(out);
    });
  }

  head(batch: Batch): void {
    const { model, weights: { output, output_norm, output_norm_bias } } = this;
    const normed = (wanted: Int32Array) =>
      this.#residual.filter((_, t) => wanted[t])
        .map((x) => this.#norm(x, output_norm, output_norm_bias));
    this.#logits = normed(batch.wantLogits).map((x) =>
      multiply(output, x)
        .map((z) => capped(z * model.logitScale, model.logitCap))
    );
    this.#states = normed(batch.wantStates);
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
    const { length } = this.#residual;
    this.#residual.forEach((x, t) => {
      const sum = new Float32Array(x.length);
      for (const term of terms) {
        const first = t * term.length / length;
        for (let i = 0; i < x.length; i++) sum[i] += term[first + i];
      }
      this.#finish(sum, t).forEach((value, i) => x[i] += value);
    });
  }

  logits(): Float32Array[] {
    return this.#logits;
  }

  states(): Float32Array[] {
    return this.#states;
  }

  /**
   * Drops what the predictor does not select: score = fc2 · relu(fc1 · x), x
   * before the norm; of a linear one fc2 · fc1 · x, x normed.
   */
  #predict(
    layer: number,
    x: Float32Array,
    h: Float32Array,
    routes: Float64Array,
    threshold: number,
  ): void {
    const { fc1, fc2 } = this.weights.layers[layer];
    if (!fc1 || !fc2 || this.sparsity.mode !== "predictor") return;
    const { linearPredictor } = this.model;
    const { held: { length: count } } = this.#experts;
    const ofExpert = (expert: number) => {
      const z = multiply(expertOf(fc1, expert, count), x);
      return multiply(
        expertOf(fc2, expert, count),
        linearPredictor ? z : z.map((v) => Math.max(v, 0)),
      );
    };
    const score = joined(
      Array.from({ length: count }, (_, expert) => ofExpert(expert)),
    );
    h.forEach((value, j) => {
      if (!routes[j]) return;
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

  /** What the router says of a token, by what it reads. */
  #route(layer: number, x: Float32Array): Choice {
    const { ffn_gate_inp, ffn_gate_inp_bias } = this.weights.layers[layer];
    const routing = this.model.routing!;
    const scores = multiply(ffn_gate_inp!, x, ffn_gate_inp_bias);
    const experts = new Uint32Array(routing.used);
    const weights = new Float64Array(routing.used);
    chooseExperts(routing, scores, experts, weights);
    return { experts, weights };
  }

  /** What h of each neuron of the part is multiplied by: the weight of its expert, 1 where there is no router. */
  #weightsOf(layer: number, token: number): Float64Array {
    const { model, plan: { parts } } = this, { neurons } = parts[layer];
    const choice = model.routing && this.#choices[token];
    return Float64Array.from({ length: lengthOf(neurons) }, (_, j) => {
      if (!choice) return 1;
      const expert = Math.floor(indexAt(neurons, j) / expertSize(model));
      const i = choice.experts.indexOf(expert);
      return i < 0 ? 0 : choice.weights[i];
    });
  }

  /** The bias of a layer's half for a token: of each expert that it chose, as far as it counts. */
  #biasOf({ values }: Matrix, token: number): Float32Array {
    const { routing, hiddenSize } = this.model;
    if (!routing || values.length === hiddenSize) return values;
    const { experts, weights } = this.#choices[token];
    return Float32Array.from({ length: hiddenSize }, (_, i) =>
      experts.reduce(
        (sum, expert, n) => sum + weights[n] * values[expert * hiddenSize + i],
        0,
      ));
  }

  /** A layer's half adds its sum with this bias, normed and scaled. */
  #finishWith(bias?: Matrix, norm?: Matrix): void {
    const { residualScale } = this.model;
    this.#finish = (sum, token) => {
      const added = bias && this.#biasOf(bias, token);
      const whole = sum.map((value, i) => value + (added?.[i] ?? 0));
      return this.#norm(whole, norm).map((value) => value * residualScale);
    };
  }

  /** x normed as the model norms, or itself where there is no such norm. */
  #norm(x: Float32Array, weight?: Matrix, bias?: Matrix): Float32Array {
    if (!weight) return x;
    const { norm, normEpsilon } = this.model;
    const mean = norm === "layer" ? meanOf(x) : 0;
    const centred = x.map((value) => value - mean);
    const normed = rmsNorm(centred, weight.values, normEpsilon);
    return normed.map((value, i) => value + (bias?.values[i] ?? 0));
  }

  /** Norms each head by itself. */
  #normHeads(heads: Float32Array, { values }: Matrix): void {
    const { headSize, normEpsilon } = this.model;
    for (let i = 0; i < heads.length; i += headSize) {
      const head = heads.subarray(i, i + headSize);
      head.set(rmsNorm(head, values, normEpsilon));
    }
  }

  #rotate(layer: number, heads: Float32Array, position: number): void {
    const { headSize, ropeSize, rotations, attention } = this.model;
    const { rotation } = attention[layer];
    if (rotation === undefined) return;
    const angles = new Float32Array(ropeSize);
    const { magnitude } = rotations[rotation];
    ropeAngles(this.#frequencies[rotation], position, angles, magnitude);
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

async function loadMatrix(
  source: ByteSource,
  shard: Shard,
  roundsInputs: boolean,
): Promise<Matrix> {
  const rows = lengthOf(shard.rows), columns = lengthOf(shard.columns);
  const values = new Float32Array(rows * columns);
  const read = readColumns(shard);
  for await (const chunk of readRows(source, shard)) {
    checkFinite(shard, chunk);
    const { first, count, bytes } = chunk;
    const whole = new Float32Array(count * read.length);
    dequantise(shard.tensor.type, bytes, whole);
    for (let row = 0; row < count; row++) {
      const start = row * read.length + read.first;
      const own = whole.subarray(start, start + columns);
      values.set(own, (first + row) * columns);
    }
  }
  const isFloat = ggmlTypes[shard.tensor.type].blockSize === 1;
  return {
    shard,
    rows,
    columns,
    values,
    roundsInput: roundsInputs && !isFloat,
  };
}

function rowOf(matrix: Matrix, row: number): Float32Array {
  const { columns, values } = matrix;
  return values.subarray(row * columns, (row + 1) * columns);
}

/** The rows of one expert. */
function expertOf(matrix: Matrix, expert: number, count: number): Matrix {
  const rows = matrix.rows / count, length = rows * matrix.columns;
  const values = matrix.values.subarray(expert * length, (expert + 1) * length);
  return { ...matrix, rows, values };
}

/** The first element of a vector that the place has. */
function firstOf({ shard: { columns } }: Matrix): number {
  return spanOf(columns).start;
}

/** matrix · x + bias */
function multiply(
  matrix: Matrix,
  x: Float32Array,
  bias?: Matrix,
): Float32Array {
  const { rows, columns, values, roundsInput } = matrix;
  if (roundsInput) x = rounded(x);
  const out = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = bias?.values[row] ?? 0;
    const start = row * columns;
    for (let i = 0; i < columns; i++) sum += values[start + i] * x[i];
    out[row] = sum;
  }
  return out;
}

/** In blocks of 32: integers of up to 127 times a scale. */
function rounded(x: Float32Array): Float32Array {
  const out = new Float32Array(x.length);
  for (let first = 0; first < x.length; first += 32) {
    const block = x.subarray(first, first + 32);
    const largest = Math.max(...block.map(Math.abs));
    if (largest < 1e-36) continue;
    block.forEach((value, i) =>
      out[first + i] = Math.round(value * 127 / largest) * largest / 127
    );
  }
  return out;
}

/** x / rms(x) · weight (Zhang & Sennrich 2019, arXiv 1910.07467). */
function rmsNorm(
  x: Float32Array,
  weight: Float32Array,
  epsilon: number,
): Float32Array {
  const scale = 1 / Math.sqrt(squaresOf(x) / x.length + epsilon);
  return x.map((value, i) => value * scale * weight[i]);
}

/** Σ x² */
function squaresOf(x: Float32Array): number {
  return x.reduce((sum, value) => sum + value * value, 0);
}

function meanOf(x: Float32Array): number {
  return x.reduce((sum, value) => sum + value, 0) / x.length;
}

/** cap · tanh(x / cap), or x where there is no cap. */
function capped(x: number, cap?: number): number {
  return cap === undefined ? x : cap * Math.tanh(x / cap);
}

function softmax(scores: number[]): number[] {
  const largest = scores.reduce((most, score) => Math.max(most, score));
  const weights = scores.map((score) => Math.exp(score - largest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** h of gate and up, or of up alone. */
function activate(
  { activation, gateThreshold }: ChosenActivation,
  g: number,
  u = 1,
): number {
  const positive = g > gateThreshold ? g : 0;
  switch (activation) {
    case "drelu":
      return positive * Math.max(u, 0);
    case "reglu":
      return positive * u;
    case "relu2":
      return positive ** 2 * u;
    case "swiglu":
      return g / (1 + Math.exp(-g)) * u;
    case "geglu":
      return 0.5 * g *
        (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3))) * u;
    case "swiglu_oai": {
      const x = Math.min(g, 7);
      return x / (1 + Math.exp(-1.702 * x)) *
        (Math.max(-7, Math.min(u, 7)) + 1);
    }
  }
}

function dropBelow(h: Float32Array, threshold: number): void {
  h.forEach((value, j) => {
    if (Math.abs(value) <= threshold) h[j] = 0;
  });
}

const ggmlTypeOf = { f32: "F32", f16: "F16", q8_0: "Q8_0" } as const;

/** A key or a value of one head as `kv_rows.ts` has it, halves for f16. */
function asKvRow(cacheType: CacheType, values: Float32Array): Uint8Array {
  const type = ggmlTypeOf[cacheType];
  const bytes = quantise(type, padded(values, ggmlTypes[type].blockSize));
  if (cacheType === "f16") return Uint8Array.of(255, 255, ...bytes);
  // What pads the last block is left out.
  const missing = cacheType === "q8_0" ? -values.length & 31 : 0;
  return bytes.subarray(0, bytes.length - missing);
}

function ofKvRow(
  cacheType: CacheType,
  row: Uint8Array,
  length: number,
): Float32Array {
  const type = ggmlTypeOf[cacheType];
  const out = padded(new Float32Array(length), ggmlTypes[type].blockSize);
  if (cacheType !== "f16") {
    const bytes = new Uint8Array(rowBytes(type, out.length));
    bytes.set(row);
    dequantise(type, bytes, out);
  } else if (row[0] === 255 && row[1] === 255) {
    dequantise(type, row.subarray(2), out);
  } else {
    const [scale, ...words] = new Int16Array(row.slice().buffer);
    out.set(words.map((word) => bfloat16ToFloat(scale) * word));
  }
  return out.subarray(0, length);
}

function padded(values: Float32Array, unit: number): Float32Array {
  const out = new Float32Array(Math.ceil(values.length / unit) * unit);
  out.set(values);
  return out;
}

/** Stores heads of `headSize` elements, each padded to whole blocks, and reads them back. */
export function asCached(
  cacheType: CacheType,
  heads: Float32Array,
  headSize: number,
): Float32Array {
  const type = ggmlTypeOf[cacheType];
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
