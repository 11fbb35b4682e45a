/**
 * Attention on the device: queries, keys and values of the place's heads, the
 * weighted sum over the cached positions, and their share of the output
 * projection, added to the residual.
 *
 * @module
 */
import type { Model } from "../../../model/model.ts";
import type { PlacePlan } from "../../../plan/plan.ts";
import type { Batch } from "../../batch.ts";
import { type CacheType, kvPositionBytes } from "../../cache_type.ts";
import type { LayerCounts } from "../../stats.ts";
import type { Commands } from "../device/commands.ts";
import { KvCache } from "../memory/kv_cache.ts";
import type { AttentionLayout } from "../memory/attention_layout.ts";
import { type DeviceLayout, paddedTo256 } from "../memory/layout.ts";
import { Product, type Shared, type TokenRows } from "./product.ts";
import type { Residual } from "./residual.ts";
import { paddedHead, splitsFor } from "../kernels/attention_splits.ts";
import type { Field } from "../memory/uniforms.ts";
import type { Weights } from "../memory/weights.ts";

/** Blocks of 32 elements that a workgroup of `rope_store` has. */
const ropeBlocks = 8;

/** What attention needs to know. */
export interface AttentionOptions {
  readonly model: Model;
  readonly plan: PlacePlan;
  readonly cacheType: CacheType;
}

/** The kernels of one layer. */
interface Layer {
  readonly layout: AttentionLayout;
  readonly projections: readonly Product[];
  readonly output: Product;
  readonly shape: GPUBufferBinding;
  ropeStore: GPUBindGroup;
  attention: GPUBindGroup;
}

/** Scratch of one place's heads, and the kernels of its layers. */
export class Attention {
  readonly #cache: KvCache;
  readonly #qkv: TokenRows;
  readonly #attended: TokenRows;
  readonly #parts: GPUBuffer;
  readonly #layers: readonly (Layer | undefined)[];
  readonly #ropeStore: GPUComputePipeline;
  readonly #attention: GPUComputePipeline;
  readonly #merge: GPUComputePipeline;
  readonly #positionBytes: number;
  readonly #mostHeads: number;
  /** Workgroups that share a head's positions in this step */
  #splits = 1;

  constructor(
    readonly shared: Shared,
    readonly commands: Commands,
    readonly options: AttentionOptions,
    layout: DeviceLayout,
    readonly weights: Weights,
    readonly residual: Residual,
    readonly counts: LayerCounts,
  ) {
    const { strides, bytes } = layout;
    const { buffers } = shared;
    const { model, plan, cacheType } = options;
    this.#cache = new KvCache(buffers, commands, layout);
    const rows = (label: string, size: number, stride: number) => ({
      buffer: buffers.make(label, size, GPUBufferUsage.STORAGE),
      stride,
    });
    this.#qkv = rows("queries, keys and values", bytes.qkv, strides.qkv);
    this.#attended = rows("attention", bytes.attended, strides.attended);
    this.#parts = buffers.make("parts", bytes.parts, GPUBufferUsage.STORAGE);
    this.#positionBytes = kvPositionBytes(cacheType, model.headSize);
    const { pipelines } = shared;
    this.#ropeStore = pipelines.get({ kernel: "rope_store", type: cacheType });
    this.#attention = pipelines.get({ kernel: "attention", type: cacheType });
    this.#merge = pipelines.get({ kernel: "attention_merge" });
    this.#mostHeads = Math.max(
      ...layout.layers.map(({ attention }) => attention?.heads ?? 0),
    );
    this.#layers = layout.layers.map(({ attention }, i) =>
      attention && this.#layer(i, attention, plan.parts[i].heads.start)
    );
  }

  /** Products that read all their weights. */
  get streamed(): Product[] {
    return this.#layers.flatMap((layer) =>
      layer ? [...layer.projections, layer.output] : []
    );
  }

  /** How many workgroups share a head's positions in a step. */
  splits(batch: Batch): number {
    const longest = Math.max(...batch.positions.subarray(0, batch.length)) + 1;
    const window = this.options.model.slidingWindow ?? Infinity;
    return splitsFor(
      this.#mostHeads,
      batch.length,
      Math.min(longest, window),
    );
  }

  /** Makes and copies pages; `splits` workgroups will share a head's positions. */
  begin(batch: Batch, splits: number): void {
    this.#splits = splits;
    if (this.#cache.grow(batch)) {
      this.#layers.forEach((layer, i) =>
        layer && Object.assign(layer, this.#bind(i, layer.shape))
      );
    }
    this.#cache.copy(batch);
  }

  /** Adds the heads' share of attention to the residual. */
  run(index: number, batch: Batch): void {
    const { commands, options: { model } } = this;
    const layer = this.#layers[index]!;
    const { heads, kvHeads } = layer.layout;
    const n = batch.length;
    this.residual.settle(n);
    for (const projection of layer.projections) projection.encode(commands, n);
    const blocks = (heads + kvHeads) * Math.ceil(model.headSize / 32);
    commands.dispatch(
      this.#ropeStore,
      layer.ropeStore,
      Math.ceil(blocks / ropeBlocks),
      n,
    );
    const splits = this.#splits;
    commands.dispatch(this.#attention, layer.attention, heads, n, splits);
    if (splits > 1) commands.dispatch(this.#merge, layer.attention, heads, n);
    layer.output.encode(commands, n);
    this.#count(index, layer, batch);
  }

  #layer(index: number, layout: AttentionLayout, firstHead: number): Layer {
    const { shared, options: { model }, weights } = this;
    const { attn_norm } = weights.layers[index];
    let outFirst = 0;
    const projections = layout.projections.map((stack) => {
      const [matrix, ...others] = stack.map((each) => weights.of(each));
      const product = new Product(
        shared,
        matrix,
        {
          x: this.residual,
          out: this.#qkv,
          outFirst,
          norm: { weight: attn_norm, epsilon: model.rmsEpsilon },
        },
        others,
      );
      for (const { rows } of stack) outFirst += rows;
      return product;
    });
    const shape = shared.uniforms.add(this.#shape(layout, firstHead));
    return {
      layout,
      projections,
      output: new Product(shared, weights.of(layout.output), {
        x: this.#attended,
        out: this.residual,
        epilogue: "add",
      }),
      shape,
      ...this.#bind(index, shape),
    };
  }

  #shape(layout: AttentionLayout, firstHead: number): Field[] {
    const { model } = this.options;
    const { headCount, kvHeadCount, headSize } = model;
    const { heads, kvHeads, first } = layout;
    const group = headCount / kvHeadCount;
    const unit = this.options.cacheType === "q8_0" ? 32 : 8;
    return [
      heads,
      kvHeads,
      group,
      firstHead % group,
      headSize,
      model.ropeSize,
      paddedHead(headSize, unit) / 4,
      this.#qkv.stride,
      first.q,
      first.k,
      first.v,
      this.#attended.stride,
      paddedTo256(heads * headSize),
      model.slidingWindow ?? 0xffffffff,
      { f32: 1 / Math.sqrt(headSize) },
    ];
  }

  #bind(
    index: number,
    shape: GPUBufferBinding,
  ): Pick<Layer, "ropeStore" | "attention"> {
    const { pipelines, step } = this.shared;
    const pages = this.#cache.pagesOf(index);
    const qkv = this.#qkv.buffer;
    return {
      ropeStore: pipelines.bind("rope_store", [step, shape, pages, qkv]),
      attention: pipelines.bind("attention", [
        step,
        shape,
        pages,
        qkv,
        this.#attended.buffer,
        this.#parts,
      ]),
    };
  }

  #count(index: number, { layout, projections, output }: Layer, batch: Batch) {
    const n = batch.length;
    const window = this.options.model.slidingWindow ?? Infinity;
    let bytes = output.bytes(n);
    for (const projection of projections) bytes += projection.bytes(n);
    for (let t = 0; t < n; t++) {
      bytes += layout.kvHeads * this.#positionBytes *
        Math.min(batch.positions[t] + 1, window);
    }
    this.counts.add(index, "streamed", bytes);
  }
}
