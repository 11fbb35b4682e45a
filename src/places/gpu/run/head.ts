/**
 * Embedding and output head on the device.
 *
 * @module
 */
import { lengthOf } from "../../../model/index_set.ts";
import type { Batch } from "../../batch.ts";
import { pickedOf, topLogitsRowLength } from "../../top_logits_row.ts";
import { embed, embedGrid } from "../kernels/embed.ts";
import type { PlaceContext, TokenRows } from "./context.ts";
import { Product } from "./product.ts";
import type { Region } from "./read_back.ts";
import type { Residual } from "./residual.ts";
import { TopLogitsPicker } from "./top_logits.ts";

/** A place's rows of the vocabulary. */
export class Head {
  /** Columns of a row. */
  readonly columns: number;
  readonly #embed: readonly {
    pipeline: GPUComputePipeline;
    group: GPUBindGroup;
  }[];
  readonly #output: Product;
  readonly #logits: TokenRows;
  readonly #picker?: TopLogitsPicker;
  readonly #rowsAtOnce: number;

  constructor(
    readonly context: PlaceContext,
    readonly residual: Residual,
  ) {
    const { STORAGE, COPY_SRC } = GPUBufferUsage;
    const { buffers, pipelines, uniforms, step, layout, weights } = context;
    const { model, plan } = context.options;
    const { bytes, logitRows, head, picked } = layout;
    this.#rowsAtOnce = logitRows;
    this.columns = lengthOf(plan.vocab);
    this.#logits = {
      buffer: buffers.make("logits", bytes.logits, STORAGE | COPY_SRC),
      stride: this.columns,
    };
    const { token_embd, output } = head!;
    const embedding = weights.of(token_embd);
    const kernel = embed(embedding.type);
    this.#embed = embedding.pieces.map(({ buffer, first, rows }) => ({
      pipeline: pipelines.get(kernel, { clears: first === 0 }),
      group: pipelines.bind(kernel, {
        step,
        params: uniforms.add(kernel, {
          first: plan.vocab.start + first,
          rows,
          groups: embedding.groups,
          x_stride: residual.stride / 4,
        }),
        matrix: buffer,
        x: residual.buffer,
      }),
    }));
    this.#output = new Product(context, weights.of(output), {
      x: residual,
      out: this.#logits,
      norm: { weight: weights.output_norm, epsilon: model.rmsEpsilon },
      gathered: true,
    });
    if (picked > 0) {
      this.#picker = new TopLogitsPicker(context, this.#logits, layout);
    }
  }

  /** Products that read all their weights. */
  get streamed(): Product[] {
    return [this.#output];
  }

  /** x := the rows of the embedding; zeros where the place has none. */
  embed(n: number): void {
    this.residual.clear();
    const grid = embedGrid(this.residual.stride, n);
    for (const { pipeline, group } of this.#embed) {
      this.context.commands.dispatch(pipeline, group, grid);
    }
  }

  /** How many rows of a batch's logits are computed at once, from row `first` on. */
  portion(batch: Batch, first = 0): number {
    return Math.min(this.#rowsAtOnce, batch.logitCount - first);
  }

  /** Computes the logits from number `wanted_first` of the step on, `count` rows, and picks the largest of each where the batch takes no more. */
  run(batch: Batch, count: number): void {
    if (count === 0) return;
    this.residual.settle(batch.length);
    this.#output.encode(count);
    const { counts } = this.context;
    counts.add(counts.layers, "streamed", this.#output.bytes(count));
    const picked = this.picked(batch);
    if (picked > 0) this.#picker!.encode(count, picked);
  }

  /** How many logits of each row are picked; 0 = whole rows are returned. */
  picked(batch: Batch): number {
    const { model, plan } = this.context.options;
    return pickedOf(batch, model.vocabSize, plan.vocab);
  }

  /** Numbers in a row of results. */
  width(batch: Batch): number {
    const picked = this.picked(batch);
    return picked > 0 ? topLogitsRowLength(picked) : this.columns;
  }

  /** The results computed last, of `count` rows. */
  region(batch: Batch, count: number): Region {
    const picked = this.picked(batch);
    if (picked > 0) return this.#picker!.region(count, picked);
    return { buffer: this.#logits.buffer, bytes: 4 * count * this.columns };
  }
}
