/**
 * Embedding and output head on the device, and their results on the way back: rows
 * of logits, or the largest of each, in portions of as many as are computed at once.
 */
import { lengthOf } from "../../../model/index_set.ts";
import type { TokenRows } from "../memory/buffers.ts";
import type { Batch } from "../../batch.ts";
import { after } from "../../place.ts";
import { pickedOf, topLogitsRowLength } from "../../top_logits_row.ts";
import type { Commands } from "../device/commands.ts";
import { embed, embedGrid } from "../kernels/residual.ts";
import {
  pickingRoom,
  topLogits,
  topLogitsGrids,
} from "../kernels/top_logits.ts";
import type { DeviceLayout } from "../memory/layout.ts";
import type { KernelContext, PlaceContext } from "./context.ts";
import { Product } from "./product.ts";
import type { Region } from "./read_back.ts";
import type { NormedInput, Residual } from "./residual.ts";
import type { Step } from "./step.ts";

/** A place's rows of the vocabulary. */
export class Head {
  readonly columns: number;
  readonly #embed: readonly {
    pipeline: GPUComputePipeline;
    group: GPUBindGroup;
  }[];
  readonly #input: NormedInput;
  readonly #output: Product;
  readonly #logits: TokenRows;
  readonly #picker?: TopLogitsPicker;
  readonly #rowsAtOnce: number;

  constructor(
    readonly context: PlaceContext,
    readonly residual: Residual,
  ) {
    const { buffers, pipelines, uniforms, step, layout, weights } = context;
    const { model, plan } = context.options;
    const { bytes, logitRows, head, picked } = layout;
    this.#rowsAtOnce = logitRows;
    this.columns = lengthOf(plan.vocab);
    this.#logits = buffers.rows("logits", bytes.logits, this.columns);
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
          scale: model.embeddingScale / model.residualScale,
        }),
        matrix: buffer,
        x: residual.buffer,
      }),
    }));
    const { output_norm, output_norm_bias } = weights;
    this.#input = residual.normed(output_norm, output_norm_bias);
    this.#output = new Product(context, weights.of(output), {
      ...this.#input.read,
      out: this.#logits,
      factor: model.logitScale,
      cap: model.logitCap,
      gathered: true,
    });
    if (picked > 0) {
      this.#picker = new TopLogitsPicker(context, this.#logits, layout);
    }
  }

  get streamed(): Product[] {
    return [this.#output];
  }

  /** x := the rows of the embedding; zeros where the place has none. */
  embed(n: number): void {
    this.residual.beginEmbedding();
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
    // What waits is added though no logits are wanted: a term must not be left over.
    if (count === 0) return this.residual.settle(batch.length);
    this.#input.encode(batch.length);
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

/** Picks from rows that hold the whole vocabulary. */
export class TopLogitsPicker {
  readonly #pipeline: GPUComputePipeline;
  readonly #levels: readonly GPUBindGroup[];
  readonly #top: GPUBuffer;

  constructor(
    readonly context: KernelContext,
    readonly logits: TokenRows,
    { bytes, picked }: {
      readonly picked: number;
      readonly bytes: Pick<DeviceLayout["bytes"], "picked" | "top">;
    },
  ) {
    const { buffers, pipelines, uniforms, step } = context;
    const { STORAGE, COPY_SRC } = GPUBufferUsage;
    const { stride: columns, buffer } = logits;
    const scratch = buffers.make("picked", bytes.picked, STORAGE);
    this.#top = buffers.make("top", bytes.top, STORAGE | COPY_SRC);
    this.#pipeline = pipelines.get(topLogits);
    const { even, odd, levels } = pickingRoom(columns, picked);
    this.#levels = Array.from(
      { length: levels },
      (_, level) =>
        pipelines.bind(topLogits, {
          step,
          params: uniforms.add(topLogits, {
            columns,
            level,
            even_room: even,
            odd_room: odd,
          }),
          logits: buffer,
          scratch,
          top: this.#top,
        }),
    );
  }

  /** Picks `k` of each of the first `rows` rows. */
  encode(rows: number, k: number): void {
    const { commands } = this.context;
    topLogitsGrids(this.logits.stride, k, rows).forEach((grid, level) =>
      commands.dispatch(this.#pipeline, this.#levels[level], grid)
    );
  }

  region(rows: number, k: number): Region {
    return { buffer: this.#top, bytes: 4 * rows * topLogitsRowLength(k) };
  }
}

/** Reads a region, at once or later. */
export type Read = <T>(
  region: Region,
  take: (bytes: ArrayBuffer) => T,
) => T | Promise<T>;

export class Results {
  /** `[wanted, width]`; longer where a step wanted more */
  #rows = new Float32Array(0);

  constructor(
    readonly head: Head,
    readonly step: Step,
    readonly commands: Commands,
    readonly read: Read,
  ) {}

  /** A row for each token that wants one; valid until the next time. */
  of(batch: Batch): Float32Array[] | Promise<Float32Array[]> {
    const count = batch.logitCount;
    const width = this.head.width(batch);
    if (this.#rows.length < count * width) {
      this.#rows = new Float32Array(count * width);
    }
    return after(this.#readFrom(0, batch), () =>
      Array.from(
        { length: count },
        (_, row) => this.#rows.subarray(row * width, (row + 1) * width),
      ));
  }

  /** Reads the rows from number `first` on, computing those that were not yet. */
  #readFrom(first: number, batch: Batch): void | Promise<void> {
    const { head } = this;
    const count = head.portion(batch, first);
    const width = head.width(batch);
    if (first > 0) {
      this.step.want(this.commands, first, count);
      head.run(batch, count);
    }
    const read = this.read(head.region(batch, count), (bytes) => {
      const rows = new Float32Array(bytes, 0, count * width);
      this.#rows.set(rows, first * width);
    });
    const next = first + count;
    return after(read, () => {
      if (next < batch.logitCount) return this.#readFrom(next, batch);
    });
  }
}
