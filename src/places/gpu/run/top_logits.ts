/**
 * Picking the largest logits on the device, so that only they come back.
 *
 * @module
 */
import { topLogitsRowLength } from "../../top_logits_row.ts";
import {
  pickingRoom,
  topLogits,
  topLogitsGrids,
} from "../kernels/top_logits.ts";
import type { DeviceLayout } from "../memory/layout.ts";
import type { KernelContext, TokenRows } from "./context.ts";
import type { Region } from "./read_back.ts";

/** What the picker needs to know of all that lies on the device. */
interface PickerLayout extends Pick<DeviceLayout, "picked"> {
  readonly bytes: Pick<DeviceLayout["bytes"], "picked" | "top">;
}

/** Picks from rows that hold the whole vocabulary. */
export class TopLogitsPicker {
  readonly #pipeline: GPUComputePipeline;
  readonly #levels: readonly GPUBindGroup[];
  readonly #top: GPUBuffer;

  constructor(
    readonly context: KernelContext,
    readonly logits: TokenRows,
    { bytes, picked }: PickerLayout,
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

  /** What was picked last. */
  region(rows: number, k: number): Region {
    return { buffer: this.#top, bytes: 4 * rows * topLogitsRowLength(k) };
  }
}
