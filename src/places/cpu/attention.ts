/**
 * A place's heads of attention on the CPU: queries, keys and values of its
 * heads, the weighted sum over the cached positions, and its share of the
 * output projection: some outputs of all heads, or all outputs of its own.
 */
import { ropeAngles, ropeFrequencies } from "../../model/rope.ts";
import { queryScale } from "../../model/traits.ts";
import { lengthOf, type Range, spanOf } from "../../model/index_set.ts";
import { kvHeadsOf } from "../../plan/plan.ts";
import type { Squares } from "../../plan/schedule.ts";
import { type Batch, pagePositions, pagesFor } from "../batch.ts";
import { kvHeadsReadOf } from "../kv_rows.ts";
import type { LayerCounts } from "../stats.ts";
import type { Bank, CpuPlaceOptions } from "./options.ts";
import { KvCache } from "./kv_cache.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import { joined, multiplyAll } from "../../kernels/joined.ts";
import type { NormedRows } from "./norms.ts";
import type { LayerWeights } from "./weights.ts";

/** One layer's heads here: queries, keys and values side by side, and the matrices that make them. */
interface Heads {
  readonly matrices: readonly PackedMatrix[];
  readonly q: F32Rows;
  readonly k: F32Rows;
  readonly v: F32Rows;
  readonly heads: Range;
  readonly headCount: number;
  readonly kvHeads: Range;
  readonly kvHeadCount: number;
  /** The column of `attn_output`'s input that is kept as the first */
  readonly firstColumn: number;
}

/** Scratch and KV cache of one bank. */
export class Attention {
  readonly #cache: KvCache;
  /** Of each rotation */
  readonly #frequencies: readonly Float64Array[];
  /** By layer; those of other banks are left out */
  readonly #layers: readonly (Heads | undefined)[];
  /** Weighted values, at the columns of `attn_output` */
  readonly #out: Activations;
  /** (cos, sin) of each token's position, `[rotations][maxTokens, ropeSize]` */
  readonly #angles: number;
  /** Addresses of one sequence's pages of one head */
  readonly #pages: number;
  #pageAddresses: Uint32Array;
  /** Of each rotation and token */
  #tokenAngles: Float32Array[][] = [];
  /** What each token's queries are multiplied by */
  readonly #queryScales: Float64Array;

  constructor(
    readonly options: CpuPlaceOptions,
    readonly bank: Bank,
    readonly counts: LayerCounts,
  ) {
    const { memory, weights: { layers, ropeFactors } } = bank;
    const { model, plan, limits, cacheType } = options;
    const { tokens: maxTokens, contextSize } = limits;
    const factors = ropeFactors &&
      memory.f32(ropeFactors.pointer, ropeFactors.columns).slice();
    this.#frequencies = model.rotations.map((rotation) =>
      ropeFrequencies(rotation, model.ropeSize, factors)
    );
    this.#queryScales = new Float64Array(maxTokens);
    const kvHeads = plan.parts.map(({ heads }, layer) =>
      layers[layer] ? lengthOf(kvHeadsOf(model, heads)) : 0
    );
    const widths = layers.map((layer) =>
      layer ? layer.attn_q.rows + 2 * layer.attn_k.rows : 0
    );
    const { pointer, stride } = allocateRows(
      memory,
      maxTokens,
      Math.max(...widths, 0),
    );
    this.#layers = layers.map((layer, i) => {
      if (!layer) return undefined;
      const { attn_q, attn_k, attn_v, attn_output } = layer;
      const k = pointer + 4 * attn_q.rows, v = k + 4 * attn_k.rows;
      const { heads } = plan.parts[i];
      const kvHeads = kvHeadsOf(model, heads);
      return {
        heads,
        headCount: lengthOf(heads),
        kvHeads,
        kvHeadCount: lengthOf(kvHeads),
        firstColumn: spanOf(attn_output.shard.columns).start,
        matrices: joined([attn_q, attn_k, attn_v]),
        q: { pointer, stride },
        k: { pointer: k, stride },
        v: { pointer: v, stride },
      };
    });
    this.#out = new Activations(
      memory,
      maxTokens,
      Math.max(0, ...layers.map((layer) => layer?.attn_output.columns ?? 0)),
    );
    this.#angles = memory.allocate(
      4 * model.rotations.length * maxTokens * model.ropeSize,
    );
    this.#pages = memory.allocate(4 * pagesFor(contextSize));
    this.#pageAddresses = new Uint32Array(0);
    this.#cache = new KvCache(memory, { ...model, cacheType }, kvHeads);
  }

  reserve(pages: number): number {
    return this.#cache.reserve(pages);
  }

  /** Writes the rows of a page of those KV heads whose first query head is here. */
  readPage(layer: number, page: number, rows: Uint8Array): void {
    const { model, plan } = this.options;
    const { start, end } = kvHeadsReadOf(model, plan.parts[layer].heads);
    for (let head = start; head < end; head++) {
      this.#cache.rows.read(this.#page(layer, page, head), head, rows);
    }
  }

  /** Takes the rows of a page. */
  writePage(layer: number, page: number, rows: Uint8Array): void {
    const { model, plan } = this.options;
    const { start, end } = kvHeadsOf(model, plan.parts[layer].heads);
    for (let head = start; head < end; head++) {
      this.#cache.rows.write(this.#page(layer, page, head), head, rows);
    }
  }

  /** The page of one of the model's KV heads. */
  #page(layer: number, page: number, kvHead: number): Uint8Array {
    const { model, plan } = this.options;
    const { start } = kvHeadsOf(model, plan.parts[layer].heads);
    return this.#cache.page(page, layer, kvHead - start);
  }

  /** Copies pages, and makes the angles of the batch's positions. */
  begin(batch: Batch): void {
    for (let i = 0; i < batch.copyCount; i++) {
      this.#cache.copy(batch.copies[2 * i], batch.copies[2 * i + 1]);
    }
    this.#refreshViews();
    const { model } = this.options;
    for (let t = 0; t < batch.length; t++) {
      const position = batch.positions[t];
      model.rotations.forEach(({ magnitude }, i) =>
        ropeAngles(
          this.#frequencies[i],
          position,
          this.#tokenAngles[i][t],
          magnitude,
        )
      );
      this.#queryScales[t] = queryScale(model, position);
    }
  }

  /** Queries, keys and values of the normed residual. */
  project(layer: number, { length: n }: Batch): void {
    const { matrices, q, k, v } = this.#layers[layer]!;
    const { attn_q_bias, attn_k_bias, attn_v_bias } = this.#weights(layer);
    const bytes = multiplyAll(matrices, this.bank.normed, n, q);
    attn_q_bias?.addTo(q, n);
    attn_k_bias?.addTo(k, n);
    attn_v_bias?.addTo(v, n);
    this.counts.add(layer, "streamed", bytes);
  }

  /** Attention of the heads. */
  run(layer: number, batch: Batch): void {
    this.#rotateAndStore(layer, batch);
    const { pointer, stride } = this.#out;
    this.bank.memory.clear(pointer, batch.length * stride);
    const bytes = this.#attend(layer, batch);
    this.counts.add(layer, "streamed", bytes);
  }

  /** What is normed as one with other places' heads: queries and keys, or what heads computed. */
  *normedAsOne(of: Squares, layer: number): Generator<NormedRows> {
    const { model, plan } = this.options;
    const { heads } = plan.parts[layer];
    const { attn_q_norm, attn_k_norm, attn_sub_norm, attn_output } = this
      .#weights(layer);
    const { headCount, kvHeadCount, headSize: unit } = model;
    const queries = { start: 0, end: headCount };
    if (of === "head-squares") {
      const { pointer, stride } = this.#out;
      const first = heads.start * unit -
        spanOf(attn_output.shard.columns).start;
      const rows = { pointer: pointer + 4 * first, stride };
      yield {
        rows,
        unit,
        ids: heads,
        columns: queries,
        weight: attn_sub_norm!,
      };
      return this.#out.changed();
    }
    const keys = { start: headCount, end: headCount + kvHeadCount };
    const ids = kvHeadsOf(model, heads);
    const { q, k } = this.#layers[layer]!;
    yield {
      rows: q,
      unit,
      ids: heads,
      columns: queries,
      weight: attn_q_norm!,
    };
    yield { rows: k, unit, ids, columns: keys, weight: attn_k_norm! };
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
    const { firstColumn } = this.#layers[layer]!;
    const first = heads.start * headSize - firstColumn;
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
    const { model, limits } = this.options;
    const { headSize, ropeSize } = model;
    const { kernels } = this.bank.memory;
    const { rotation } = model.attention[layer];
    const firstAngles = (rotation ?? 0) * limits.tokens;
    const rows = this.#layers[layer]!;
    const { headCount, kvHeadCount } = rows;
    for (let t = 0; t < batch.length; t++) {
      const angles = this.#angles + 4 * (firstAngles + t) * ropeSize;
      const q = rows.q.pointer + 4 * t * rows.q.stride;
      const k = rows.k.pointer + 4 * t * rows.k.stride;
      const v = rows.v.pointer + 4 * t * rows.v.stride;
      if (model.qkNorm === "head") {
        const { attn_q_norm, attn_k_norm } = this.#weights(layer);
        this.#normHeads(q, headCount, attn_q_norm!);
        this.#normHeads(k, kvHeadCount, attn_k_norm!);
      }
      if (rotation !== undefined) {
        kernels.rope(q, headCount, headSize, ropeSize, angles);
        kernels.rope(k, kvHeadCount, headSize, ropeSize, angles);
      }
      const scale = this.#queryScales[t];
      if (scale !== 1) kernels.scale(q, headCount * headSize, scale);
      const position = batch.positions[t];
      const page = batch.pageOf(t, position);
      for (let head = 0; head < kvHeadCount; head++) {
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

  /** Norms each of one token's heads by itself. */
  #normHeads(rows: number, heads: number, { pointer }: PackedMatrix): void {
    const { memory: { kernels } } = this.bank;
    const { headSize: size, normEpsilon } = this.options.model;
    kernels.rms_norm(rows, size, pointer, heads, size, normEpsilon, rows, size);
  }

  /** Returns the bytes of keys and values read. */
  #attend(layer: number, batch: Batch): number {
    let positions = 0;
    for (let t = 0; t < batch.length;) {
      const count = tokensInARow(batch, t);
      positions += this.#attendTokens(layer, batch, t, count);
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
  ): number {
    const { bank: { memory }, options: { model } } = this;
    const { headSize } = model;
    const { q, heads, kvHeads, firstColumn } = this.#layers[layer]!;
    const { attn_sinks } = this.#weights(layer);
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
        q.pointer + 4 * (t * q.stride + (first - heads.start) * headSize),
        q.stride,
        count,
        last - first,
        headSize,
        this.#pages,
        end,
        model.attention[layer].window ?? 0,
        model.attentionScale,
        model.scoreCap ?? 0,
        attn_sinks ? attn_sinks.pointer + 4 * (first - heads.start) : 0,
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
    if (this.#pageAddresses.buffer === memory.bytes.buffer) return;
    const { limits, model: { ropeSize, rotations } } = this.options;
    this.#pageAddresses = memory.u32(this.#pages, pagesFor(limits.contextSize));
    const angles = (row: number) =>
      memory.f32(this.#angles + 4 * row * ropeSize, ropeSize);
    const { tokens } = limits;
    this.#tokenAngles = rotations.map((_, i) =>
      Array.from({ length: tokens }, (_, t) => angles(i * tokens + t))
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
