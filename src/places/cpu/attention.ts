/**
 * A place's heads of attention on the CPU: queries, keys and values of its
 * heads, the weighted sum over the cached positions, and its share of the
 * output projection: some outputs of all heads, or all outputs of its own.
 */
import { ropeAngles, ropeFrequencies } from "../../model/rope.ts";
import { lengthOf, type Range, spanOf } from "../../model/index_set.ts";
import { kvHeadsOf } from "../../plan/plan.ts";
import { type Batch, pagePositions, pagesFor } from "../batch.ts";
import type { LayerCounts } from "../stats.ts";
import type { Bank, CpuPlaceOptions } from "./options.ts";
import { KvCache } from "./kv_cache.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
} from "../../kernels/matrix.ts";
import type { LayerWeights } from "./weights.ts";

/** Scratch and KV cache of one bank. */
export class Attention {
  readonly #cache: KvCache;
  readonly #frequencies: Float64Array;
  readonly #q: F32Rows;
  readonly #k: F32Rows;
  readonly #v: F32Rows;
  /** Weighted values, at the columns of `attn_output` */
  readonly #out: Activations;
  /** (cos, sin) of each token's position, `[maxTokens, ropeSize]` */
  readonly #angles: number;
  /** Addresses of one sequence's pages of one head */
  readonly #pages: number;
  #pageAddresses: Uint32Array;
  #tokenAngles: Float32Array[] = [];

  constructor(
    readonly options: CpuPlaceOptions,
    readonly bank: Bank,
    readonly counts: LayerCounts,
  ) {
    const { memory, weights: { layers, rope_freqs } } = bank;
    const { model, plan, limits, cacheType } = options;
    const { tokens: maxTokens, contextSize } = limits;
    const factors = rope_freqs &&
      memory.f32(rope_freqs.pointer, rope_freqs.columns).slice();
    this.#frequencies = ropeFrequencies(model, factors);
    const kvHeads = plan.parts.map(({ heads }, layer) =>
      layers[layer] ? lengthOf(kvHeadsOf(model, heads)) : 0
    );
    const widest = (lengths: number[]) =>
      Math.max(...lengths, 0) * model.headSize;
    const rows = (width: number) => allocateRows(memory, maxTokens, width);
    this.#q = rows(widest(plan.parts.map(({ heads }) => lengthOf(heads))));
    this.#k = rows(widest(kvHeads));
    this.#v = rows(widest(kvHeads));
    this.#out = new Activations(
      memory,
      maxTokens,
      Math.max(0, ...layers.map((layer) => layer?.attn_output.columns ?? 0)),
    );
    this.#angles = memory.allocate(4 * maxTokens * model.ropeSize);
    this.#pages = memory.allocate(4 * pagesFor(contextSize));
    this.#pageAddresses = new Uint32Array(0);
    this.#cache = new KvCache(memory, cacheType, kvHeads, model.headSize);
  }

  reserve(pages: number): number {
    return this.#cache.reserve(pages);
  }

  /** Copies pages, and makes the angles of the batch's positions. */
  begin(batch: Batch): void {
    for (let i = 0; i < batch.copyCount; i++) {
      this.#cache.copy(batch.copies[2 * i], batch.copies[2 * i + 1]);
    }
    this.#refreshViews();
    for (let t = 0; t < batch.length; t++) {
      ropeAngles(this.#frequencies, batch.positions[t], this.#tokenAngles[t]);
    }
  }

  /** Attention of the heads on the normed residual. */
  run(layer: number, batch: Batch): void {
    const n = batch.length;
    const { memory, normed: x } = this.bank, weights = this.#weights(layer);
    const { attn_q, attn_k, attn_v, attn_output } = weights;
    let bytes = attn_q.multiply(x, n, this.#q);
    bytes += attn_k.multiply(x, n, this.#k);
    bytes += attn_v.multiply(x, n, this.#v);
    weights.attn_q_bias?.addTo(this.#q, n);
    weights.attn_k_bias?.addTo(this.#k, n);
    weights.attn_v_bias?.addTo(this.#v, n);
    this.#rotateAndStore(layer, batch);
    memory.clear(this.#out.pointer, n * this.#out.stride);
    const { start } = spanOf(attn_output.shard.columns);
    bytes += this.#attend(layer, batch, start);
    this.counts.add(layer, "streamed", bytes);
  }

  /** Writes what the heads computed to their columns of `rows`, `[tokens, stride]`. */
  put(layer: number, batch: Batch, rows: Float32Array): void {
    const { heads } = this.options.plan.parts[layer];
    this.#eachRow(layer, heads, batch, rows, (own, all) => all.set(own));
  }

  /** Takes what the heads of all places computed. */
  take(layer: number, batch: Batch, rows: Float32Array): void {
    const { heads } = this.options.plan.parts[layer].inputs!;
    this.#eachRow(layer, heads, batch, rows, (own, all) => own.set(all));
  }

  /** Calls `move` with the columns of some heads, of each token: here, and in `rows`. */
  #eachRow(
    layer: number,
    heads: Range,
    { length: n }: Batch,
    rows: Float32Array,
    move: (own: Float32Array, all: Float32Array) => void,
  ): void {
    const { headSize } = this.options.model;
    const { pointer, stride } = this.#out;
    const { shard } = this.#weights(layer).attn_output;
    const first = heads.start * headSize - spanOf(shard.columns).start;
    const length = lengthOf(heads) * headSize;
    for (let t = 0; t < n; t++) {
      const at = t * rows.length / n + first;
      move(
        this.bank.memory.f32(pointer + 4 * (t * stride + first), length),
        rows.subarray(at, at + length),
      );
    }
  }

  /** Writes the place's share of the output projection into `out`. */
  output(layer: number, { length: n }: Batch, out: F32Rows): void {
    const { attn_output } = this.#weights(layer);
    this.#out.changed();
    const bytes = attn_output.multiplyOutputs(this.#out, n, out);
    this.counts.add(layer, "streamed", bytes);
  }

  #rotateAndStore(layer: number, batch: Batch): void {
    const { model, plan } = this.options;
    const { headSize, ropeSize } = model;
    const { heads } = plan.parts[layer];
    const kvHeads = lengthOf(kvHeadsOf(model, heads));
    const { kernels } = this.bank.memory;
    for (let t = 0; t < batch.length; t++) {
      const angles = this.#angles + 4 * t * ropeSize;
      const q = this.#q.pointer + 4 * t * this.#q.stride;
      const k = this.#k.pointer + 4 * t * this.#k.stride;
      const v = this.#v.pointer + 4 * t * this.#v.stride;
      kernels.rope(q, lengthOf(heads), headSize, ropeSize, angles);
      kernels.rope(k, kvHeads, headSize, ropeSize, angles);
      const position = batch.positions[t];
      const page = batch.pageOf(t, position);
      for (let head = 0; head < kvHeads; head++) {
        const at = 4 * head * headSize;
        kernels.kv_store(
          this.#cache.typeId,
          k + at,
          v + at,
          headSize,
          this.#cache.address(page, layer, head),
          position % pagePositions,
        );
      }
    }
  }

  /** Returns the bytes of keys and values read. */
  #attend(layer: number, batch: Batch, firstColumn: number): number {
    let positions = 0;
    for (let t = 0; t < batch.length;) {
      const count = tokensInARow(batch, t);
      positions += this.#attendTokens(layer, batch, t, count, firstColumn);
      t += count;
    }
    return positions * this.#cache.positionBytes;
  }

  /** `count` tokens of one sequence from `t` on. Returns the positions read, head by head. */
  #attendTokens(
    layer: number,
    batch: Batch,
    t: number,
    count: number,
    firstColumn: number,
  ): number {
    const { bank: { memory }, options: { model, plan } } = this;
    const { headSize } = model;
    const { heads } = plan.parts[layer];
    const kvHeads = kvHeadsOf(model, heads);
    const group = model.headCount / model.kvHeadCount;
    const end = batch.positions[t] + 1;
    const pages = pagesFor(end + count - 1);
    let positions = 0;
    for (let kvHead = kvHeads.start; kvHead < kvHeads.end; kvHead++) {
      const first = Math.max(heads.start, kvHead * group);
      const last = Math.min(heads.end, (kvHead + 1) * group);
      for (let page = 0; page < pages; page++) {
        this.#pageAddresses[page] = this.#cache.address(
          batch.pageOf(t, page * pagePositions),
          layer,
          kvHead - kvHeads.start,
        );
      }
      positions += memory.kernels.attention(
        this.#cache.typeId,
        this.#q.pointer +
          4 * (t * this.#q.stride + (first - heads.start) * headSize),
        this.#q.stride,
        count,
        last - first,
        headSize,
        this.#pages,
        end,
        model.slidingWindow ?? 0,
        1 / Math.sqrt(headSize),
        this.#out.pointer +
          4 * (t * this.#out.stride + first * headSize - firstColumn),
        this.#out.stride,
      );
    }
    return positions;
  }

  #weights(layer: number): LayerWeights {
    return this.bank.weights.layers[layer]!;
  }

  /** Growing memory detaches views of it. */
  #refreshViews(): void {
    const { memory } = this.bank;
    if (this.#pageAddresses.buffer === memory.kernels.memory.buffer) return;
    const { limits, model: { ropeSize } } = this.options;
    this.#pageAddresses = memory.u32(this.#pages, pagesFor(limits.contextSize));
    this.#tokenAngles = Array.from(
      { length: limits.tokens },
      (_, t) => memory.f32(this.#angles + 4 * t * ropeSize, ropeSize),
    );
  }
}

/** How many tokens from `t` on are of one sequence, one position after another. */
function tokensInARow(
  { sequences, positions, length }: Batch,
  t: number,
): number {
  let count = 1;
  while (
    t + count < length && sequences[t + count] === sequences[t] &&
    positions[t + count] === positions[t] + count
  ) count++;
  return count;
}
