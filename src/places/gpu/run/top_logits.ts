/**
 * Picking the largest logits on the device, so that only they come back.
 *
 * @module
 */
import { topRowLength } from "../../top_logits_row.ts";
import type { Commands } from "../device/commands.ts";
import type { BufferBytes, DeviceLayout } from "../memory/layout.ts";
import type { Shared, TokenRows } from "./product.ts";
import type { Region } from "./read_back.ts";

/** Values that a workgroup sorts, as in `shaders/top_logits.wgsl`. */
const chunk = 1024;

/** The entries that each level hands on of a row of `columns`, when `k` are picked; the last one hands on none. */
function handedOn(columns: number, k: number): number[] {
  const entries: number[] = [];
  for (let chunks = Math.ceil(columns / chunk); chunks > 1;) {
    entries.push(chunks * k);
    chunks = Math.ceil(chunks * k / chunk);
  }
  return entries;
}

/** What picking at most `k` of a row of `columns` takes. */
export function pickingRoom(columns: number, k: number) {
  const handed = handedOn(columns, k);
  const [even = 0, odd = 0] = handed;
  const chunks = Math.ceil(columns / chunk);
  return {
    /** Entries of even and of odd levels */
    even,
    odd,
    /** Entries of a row in all */
    row: even + odd + chunks,
    /** Kernels that follow one another */
    levels: handed.length + 1,
  };
}

/** What the picker needs to know of all that lies on the device. */
interface PickerLayout extends Pick<DeviceLayout, "picked"> {
  readonly bytes: Pick<BufferBytes, "picked" | "top">;
}

/** Picks from rows that hold the whole vocabulary. */
export class TopLogitsPicker {
  readonly #pipeline: GPUComputePipeline;
  readonly #levels: readonly GPUBindGroup[];
  readonly #top: GPUBuffer;

  constructor(
    { buffers, pipelines, uniforms, step }: Shared,
    readonly logits: TokenRows,
    { bytes, picked }: PickerLayout,
  ) {
    const { STORAGE, COPY_SRC } = GPUBufferUsage;
    const { stride: columns, buffer } = logits;
    const scratch = buffers.make("picked", bytes.picked, STORAGE);
    this.#top = buffers.make("top", bytes.top, STORAGE | COPY_SRC);
    this.#pipeline = pipelines.get({ kernel: "top_logits" });
    const { even, odd, levels } = pickingRoom(columns, picked);
    this.#levels = Array.from(
      { length: levels },
      (_, level) =>
        pipelines.bind("top_logits", [
          step,
          uniforms.add([columns, level, even, odd]),
          buffer,
          scratch,
          this.#top,
        ]),
    );
  }

  /** Picks `k` of each of the first `rows` rows. */
  encode(commands: Commands, rows: number, k: number): void {
    const { stride: columns } = this.logits;
    const counts = [columns, ...handedOn(columns, k)];
    counts.forEach((count, level) => {
      const chunks = Math.ceil(count / chunk);
      commands.dispatch(this.#pipeline, this.#levels[level], chunks, rows);
    });
  }

  /** What was picked last. */
  region(rows: number, k: number): Region {
    return { buffer: this.#top, bytes: 4 * rows * topRowLength(k) };
  }
}
