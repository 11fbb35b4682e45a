/** A place's rows of the output head: all logits, or the largest of them. */
import {
  type Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { Model } from "../../model/model.ts";
import type { Picked } from "../top_logits_row.ts";
import { HeadScreen } from "./head_screen.ts";
import type { ScreenChoice } from "./screen_choice.ts";

/** Where more rows than this share may be among the largest, all are read. */
const mostReaching = 0.25;

/** Computes logits. */
export class Head {
  readonly #logits: F32Rows;
  /** Room for the ids of rows, and for a number of each */
  readonly #ids: number;
  readonly #values: number;
  readonly #screen?: HeadScreen;
  #picked: Picked[] = [];
  /** How many are picked, where rows are being screened, and since when */
  #screened?: { readonly k: number; readonly start: number };

  /** Multiplies `output` with up to `tokens` rows of `normed`; screens its rows where there is a `choice` when to. */
  constructor(
    readonly memory: WasmMemory,
    readonly model: Model,
    readonly output: PackedMatrix,
    readonly normed: Activations,
    tokens: number,
    readonly choice?: ScreenChoice,
  ) {
    this.#logits = allocateRows(memory, tokens, output.rows);
    this.#ids = memory.allocate(4 * output.rows);
    this.#values = memory.allocate(4 * output.rows);
    if (choice) this.#screen = new HeadScreen(memory, model, output, normed);
  }

  /**
   * Computes the logits of the first `count` rows; if k > 0, it picks the `k`
   * largest of each, or what {@linkcode reach} begins with. Gives the bytes of
   * weights read.
   */
  run(count: number, k: number): number {
    const screen = k > 0 && count === 1 ? this.#screen : undefined;
    const start = performance.now();
    if (screen?.isReady && this.choice!.screens(k)) {
      const bytes = this.#begin(screen, k);
      if (bytes !== undefined) {
        this.#screened = { k, start };
        return bytes;
      }
    }
    const bytes = this.#multiply(count, k);
    if (screen && !screen.isLost) {
      this.choice!.addWhole(performance.now() - start);
      if (this.choice!.learns(screen.seen)) screen.see();
      else if (!screen.isReady) screen.copySome();
    }
    return bytes;
  }

  /** Computes what is missing of the logits of a first row that are `least` or more, where rows are screened. Gives the bytes of weights read. */
  reach(least: number): number {
    const { k, start } = this.#screened ?? {};
    if (k === undefined) return 0;
    this.#screened = undefined;
    const { rows } = this.output, { pointer } = this.#logits;
    const count = this.#screen!.select(pointer, least, this.#ids);
    const bytes = count > mostReaching * rows
      ? this.#multiply(1, k)
      : this.#pickOf(count, k);
    this.choice!.addScreened(k, performance.now() - start!);
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

  /** The logits of those that are the largest by a first look. */
  #begin(screen: HeadScreen, k: number): number | undefined {
    const { pointer } = this.#logits;
    const bytes = screen.approximate(pointer);
    if (bytes === undefined) return undefined;
    const { memory, output: { rows } } = this;
    memory.kernels.largest(pointer, rows, k, this.#ids);
    return bytes + this.#pickOf(k, k);
  }

  /** Picks from the exact logits of the rows in `#ids` alone. Gives the bytes of weights read. */
  #pickOf(count: number, k: number): number {
    const { memory, output, normed } = this;
    const { pointer } = this.#logits;
    const bytes = output.multiplyRows(normed, 0, this.#ids, count, pointer);
    const ids = memory.u32(this.#ids, count).slice();
    const all = this.row(0), values = memory.f32(this.#values, count);
    for (let i = 0; i < count; i++) values[i] = all[ids[i]];
    this.#finish(this.#values, count);
    const found = this.#pick(this.#values, count, k);
    this.#picked = [{ ...found, ids: found.ids.map((i) => ids[i]) }];
    return bytes;
  }

  #multiply(count: number, k: number): number {
    const bytes = this.output.multiply(this.normed, count, this.#logits);
    this.#finish(this.#logits.pointer, count * this.#logits.stride);
    const { rows } = this.output;
    this.#picked = Array.from(
      { length: k > 0 ? count : 0 },
      (_, row) => this.#pick(this.#pointer(row), rows, k),
    );
    return bytes;
  }

  #pick(values: number, count: number, k: number): Picked {
    const { memory } = this;
    const found = memory.kernels.largest(values, count, k, this.#ids);
    const ids = memory.u32(this.#ids, found).slice();
    const all = memory.f32(values, count);
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
