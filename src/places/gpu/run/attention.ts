/**
 * Attention on the device: queries, keys and values of the place's heads, the
 * weighted sum over the cached positions, and their share of the output
 * projection, added to the residual.
 */
import type { Range } from "../../../model/index_set.ts";
import type { TokenRows } from "../memory/buffers.ts";
import { type Batch, pagePositions } from "../../batch.ts";
import { kvPositionBytes } from "../../cache_type.ts";
import { kvHeadsReadOf, KvRows } from "../../kv_rows.ts";
import { kvHeadsOf } from "../../../plan/plan.ts";
import { anglesAt } from "../kernels/step_words.ts";
import {
  attention,
  attentionMerge,
  paddedHead,
  ropeStore,
  ropeStoreGrid,
  splitsFor,
} from "../kernels/attention.ts";
import { KvCache, pageForm } from "../memory/kv_cache.ts";
import type { AttentionLayout } from "../memory/layout.ts";
import { paddedTo256 } from "../memory/packing.ts";
import type { PlaceContext } from "./context.ts";
import { Product } from "./product.ts";
import type { Region } from "./read_back.ts";
import type { Half, NormedInput, Residual } from "./residual.ts";
import { SharedNorm } from "./shared_norm.ts";

interface Layer {
  readonly layout: AttentionLayout;
  readonly input: NormedInput;
  readonly projections: readonly Product[];
  /** Of all queries, and of all keys */
  readonly qkNorm?: SharedNorm;
  readonly subNorm?: SharedNorm;
  readonly output: Product;
  readonly half: Half;
  readonly params: GPUBufferBinding;
  ropeStore: GPUBindGroup;
  attention: GPUBindGroup;
}

/** Scratch of one place's heads, and the kernels of its layers. */
export class Attention {
  readonly #cache: KvCache;
  readonly #qkv: TokenRows;
  readonly #attended: TokenRows;
  readonly #splitResults: GPUBuffer;
  readonly #layers: readonly (Layer | undefined)[];
  readonly #ropeStore: GPUComputePipeline;
  readonly #attention: GPUComputePipeline;
  readonly #merge: GPUComputePipeline;
  readonly #positionBytes: number;
  readonly #mostHeads: number;
  /** Made when they are first needed */
  #rows?: KvRows;
  /** Workgroups that share a head's positions in this step */
  #splits = 1;

  constructor(
    readonly context: PlaceContext,
    readonly residual: Residual,
  ) {
    const { buffers, pipelines, commands, layout } = context;
    const { strides, bytes } = layout;
    const { model, plan, cacheType } = context.options;
    this.#cache = new KvCache(buffers, commands, layout);
    this.#qkv = buffers.rows(
      "queries, keys and values",
      bytes.qkv,
      strides.qkv,
    );
    const { attended } = strides;
    this.#attended = buffers.rows("attention", bytes.attended, attended);
    this.#splitResults = buffers.make(
      "results of splits",
      bytes.splits,
      GPUBufferUsage.STORAGE,
    );
    this.#positionBytes = kvPositionBytes(cacheType, model.headSize);
    this.#ropeStore = pipelines.get(ropeStore(cacheType), {
      normed: model.qkNorm === "head",
    });
    this.#attention = pipelines.get(attention(cacheType), {
      capped: model.scoreCap !== undefined,
      sunk: context.weights.layers.some(({ attn_sinks }) => attn_sinks),
    });
    this.#merge = pipelines.get(attentionMerge);
    this.#mostHeads = Math.max(
      ...layout.layers.map(({ attention }) => attention?.heads ?? 0),
    );
    this.#layers = layout.layers.map(({ attention }, i) =>
      attention && this.#layer(i, attention, plan.parts[i].heads.start)
    );
  }

  get streamed(): Product[] {
    return this.#layers.flatMap((layer) =>
      !layer
        ? []
        // What measuring adds to a term would stay there.
        : layer.half.norm
        ? layer.projections
        : [...layer.projections, layer.output]
    );
  }

  /** How many workgroups share a head's positions in a step. */
  splits(batch: Batch): number {
    const longest = 1 + batch.positions.subarray(0, batch.length)
      .reduce((a, b) => Math.max(a, b));
    const { attention } = this.context.options.model;
    const window = Math.max(
      ...attention.map(({ window = Infinity }) => window),
    );
    return splitsFor(
      this.#mostHeads,
      batch.length,
      Math.min(longest, window),
    );
  }

  reserve(pages: number): number {
    if (this.#cache.grow(pages)) {
      this.#layers.forEach((layer, i) =>
        layer && Object.assign(layer, this.#bind(i, layer.params))
      );
    }
    return this.#cache.pages;
  }

  /** Where a page of a layer lies; nowhere, where no heads of it are here. */
  pageRegion(layer: number, page: number): Region | undefined {
    return this.#layers[layer] && this.#cache.region(layer, page);
  }

  /** Writes the rows of a page that was read, of those KV heads whose first query head is here. */
  readPage(layer: number, page: Uint8Array, rows: Uint8Array): void {
    const { model, plan } = this.context.options;
    const { start, end } = kvHeadsReadOf(model, plan.parts[layer].heads);
    for (let head = start; head < end; head++) {
      this.#pageRows.read(this.#headOf(layer, page, head), head, rows);
    }
  }

  /** Takes the rows of a page. */
  writePage(layer: number, page: number, rows: Uint8Array): void {
    const region = this.pageRegion(layer, page);
    if (!region) return;
    const { commands, options: { model, plan } } = this.context;
    const { start, end } = kvHeadsOf(model, plan.parts[layer].heads);
    const bytes = new Uint8Array(region.bytes);
    for (let head = start; head < end; head++) {
      this.#pageRows.write(this.#headOf(layer, bytes, head), head, rows);
    }
    commands.write(region.buffer, bytes.buffer, region.bytes, region.offset);
  }

  get #pageRows(): KvRows {
    const { model, cacheType } = this.context.options;
    const shape = { ...model, cacheType };
    return this.#rows ??= new KvRows(shape, pageForm(shape));
  }

  /** What one of the model's KV heads has of a layer's page. */
  #headOf(layer: number, page: Uint8Array, kvHead: number): Uint8Array {
    const { model, plan } = this.context.options;
    const { start } = kvHeadsOf(model, plan.parts[layer].heads);
    const bytes = pagePositions * this.#positionBytes;
    const first = bytes * (kvHead - start);
    return page.subarray(first, first + bytes);
  }

  /** Copies pages; `splits` workgroups will share a head's positions. */
  begin(batch: Batch, splits: number): void {
    this.#splits = splits;
    this.#cache.copy(batch);
  }

  /** Computes queries, keys and values. */
  project(index: number, n: number): void {
    const { input, projections } = this.#layers[index]!;
    input.encode(n);
    for (const projection of projections) projection.encode(n);
  }

  /** What norms queries and keys, or what heads computed, as one. */
  sharedNorm(index: number, of: "qk" | "heads"): SharedNorm {
    const { qkNorm, subNorm } = this.#layers[index]!;
    return (of === "qk" ? qkNorm : subNorm)!;
  }

  /** Computes attention of the heads. */
  attend(index: number, n: number): void {
    const { commands, options: { model } } = this.context;
    const layer = this.#layers[index]!;
    const { heads, kvHeads } = layer.layout;
    commands.dispatch(
      this.#ropeStore,
      layer.ropeStore,
      ropeStoreGrid(
        heads + kvHeads,
        model.headSize,
        n,
        model.qkNorm === "head",
      ),
    );
    const splits = this.#splits;
    commands.dispatch(this.#attention, layer.attention, [heads, n, splits]);
    if (splits > 1) {
      commands.dispatch(this.#merge, layer.attention, [heads, n]);
    }
  }

  /** Adds the heads' share of attention to the residual. */
  output(index: number, batch: Batch): void {
    const layer = this.#layers[index]!;
    layer.output.encode(batch.length);
    this.residual.added(layer.half);
    this.#count(index, layer, batch);
  }

  #layer(index: number, layout: AttentionLayout, firstHead: number): Layer {
    const { context, residual } = this;
    const { uniforms, weights, options: { model, cacheType } } = context;
    const vectors = weights.layers[index];
    const { attn_norm, attn_norm_bias } = vectors;
    const input = residual.normed(attn_norm, attn_norm_bias);
    const half = residual.half(vectors.post_attention_norm);
    let outFirst = 0;
    const projections = layout.projections.map((stack) => {
      const [matrix, ...others] = stack.map((each) => weights.of(each));
      const product = new Product(context, matrix, {
        ...input.read,
        out: this.#qkv,
        outFirst,
        bias: vectors.qkv_bias,
      }, others);
      for (const { rows } of stack) outFirst += rows;
      return product;
    });
    const { headCount, kvHeadCount, headSize } = model;
    const { heads, kvHeads, first } = layout;
    const group = headCount / kvHeadCount;
    const { window = 0xffffffff, rotation } = model.attention[index];
    const params = uniforms.add(attention(cacheType), {
      heads,
      kv_heads: kvHeads,
      group,
      group_shift: firstHead % group,
      head_size: headSize,
      rope_size: rotation === undefined ? 0 : model.ropeSize,
      angles: anglesAt(model, rotation ?? 0),
      quads: paddedHead(headSize, cacheType) / 4,
      stride: this.#qkv.stride,
      q_first: first.q,
      k_first: first.k,
      v_first: first.v,
      out_stride: this.#attended.stride,
      out_padded: paddedTo256(heads * headSize),
      window,
      scale: model.attentionScale,
      cap: model.scoreCap ?? 0,
      epsilon: model.normEpsilon,
    });
    return {
      layout,
      input,
      projections,
      ...this.#norms(index, layout),
      output: new Product(context, weights.of(layout.output), {
        x: this.#attended,
        out: half.out,
        bias: vectors.attn_output_bias,
        epilogue: "add",
      }),
      half,
      params,
      ...this.#bind(index, params),
    };
  }

  #norms(
    index: number,
    { first }: AttentionLayout,
  ): Pick<Layer, "qkNorm" | "subNorm"> {
    const { context } = this;
    const { weights, options: { model, plan } } = context;
    const { headSize, headCount, kvHeadCount } = model;
    const { qk_norm, attn_sub_norm } = weights.layers[index];
    const own = plan.parts[index].heads;
    const share = (first: number, { start, end }: Range, columns: Range) => ({
      first,
      size: (end - start) * headSize,
      count: 1,
      unit: headSize,
      columns,
      columnOf: (i: number) => columns.start + start + i,
    });
    const queries = { start: 0, end: headCount };
    const keys = { start: headCount, end: headCount + kvHeadCount };
    return {
      qkNorm: qk_norm && model.qkNorm === "whole"
        ? new SharedNorm(context, {
          x: this.#qkv,
          shares: [
            share(first.q, own, queries),
            share(first.k, kvHeadsOf(model, own), keys),
          ],
          weight: qk_norm,
        })
        : undefined,
      subNorm: attn_sub_norm && new SharedNorm(context, {
        x: this.#attended,
        shares: [share(0, own, queries)],
        weight: attn_sub_norm,
      }),
    };
  }

  #bind(
    index: number,
    params: GPUBufferBinding,
  ): Pick<Layer, "ropeStore" | "attention"> {
    const { pipelines, step, weights, options: { cacheType } } = this.context;
    // What is not there is bound to what kernels read anyway.
    const { qk_norm = step, attn_sinks = step } = weights.layers[index];
    const kv = this.#cache.pagesOf(index);
    const bound = { step, params, kv, qkv: this.#qkv.buffer };
    return {
      ropeStore: pipelines.bind(ropeStore(cacheType), {
        ...bound,
        norm: qk_norm,
      }),
      attention: pipelines.bind(attention(cacheType), {
        ...bound,
        sinks: attn_sinks,
        out: this.#attended.buffer,
        splits: this.#splitResults,
      }),
    };
  }

  #count(index: number, { layout, projections, output }: Layer, batch: Batch) {
    const { counts, options: { model } } = this.context;
    const n = batch.length;
    const { window = Infinity } = model.attention[index];
    let bytes = output.bytes(n);
    for (const projection of projections) bytes += projection.bytes(n);
    for (let t = 0; t < n; t++) {
      bytes += layout.kvHeads * this.#positionBytes *
        Math.min(batch.positions[t] + 1, window);
    }
    counts.add(index, "streamed", bytes);
  }
}
