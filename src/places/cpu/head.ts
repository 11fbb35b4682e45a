/**
 * A place's rows of the output head: all logits, or the largest of them.
 */
import {
  type Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { Model } from "../../model/model.ts";
import type { Picked } from "../top_logits_row.ts";

/** Computes logits. */
export class Head {
  readonly #logits: F32Rows;
  /** Room for the ids of a row */
  readonly #ids: number;
  #picked: Picked[] = [];

  /** Multiplies `output` with up to `tokens` rows of `normed`. */
  constructor(
    readonly memory: WasmMemory,
    readonly model: Model,
    readonly output: PackedMatrix,
    readonly normed: Activations,
    tokens: number,
  ) {
    this.#logits = allocateRows(memory, tokens, output.rows);
    this.#ids = memory.allocate(4 * output.rows);
  }

  /** Computes the logits of the first `count` rows, and picks the `k` largest of each, if k > 0. Gives the bytes of weights read. */
  run(count: number, k: number): number {
    const bytes = this.output.multiply(this.normed, count, this.#logits);
    this.#finish(this.#logits.pointer, count * this.#logits.stride);
    this.#picked = k > 0
      ? Array.from({ length: count }, (_, row) => this.#pick(row, k))
      : [];
    return bytes;
  }

  /** Of each row, what it has picked. */
  get picked(): Picked[] {
    return this.#picked;
  }

  /** The logits of a row. */
  row(index: number): Float32Array {
    return this.memory.f32(this.#pointer(index), this.output.rows);
  }

  #pick(row: number, k: number): Picked {
    const { memory, output: { rows } } = this;
    const pointer = this.#pointer(row);
    memory.kernels.largest(pointer, 0, rows, k, this.#ids);
    const ids = memory.u32(this.#ids, k).slice();
    const all = this.row(row);
    return { ids, logits: Float32Array.from(ids, (id) => all[id]) };
  }

  #pointer(row: number): number {
    return this.#logits.pointer + 4 * row * this.#logits.stride;
  }

  /** Scales and cuts products as the model says. */
  #finish(pointer: number, length: number): void {
    const { logitScale, logitCap } = this.model;
    const { kernels } = this.memory;
    if (logitScale !== 1) kernels.scale(pointer, length, logitScale);
    if (logitCap) kernels.soft_cap(pointer, length, logitCap);
  }
}
