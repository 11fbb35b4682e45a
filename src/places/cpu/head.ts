/** A place's rows of the output head: all logits, or the largest of them. */
import {
  type Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import { spanOf } from "../../model/index_set.ts";
import type { Model } from "../../model/model.ts";
import {
  allows,
  countAllowed,
  forbid,
  listAllowed,
  type TokenMask,
} from "../../sampling/token_mask.ts";
import type { Picked } from "../top_logits_row.ts";
import { HeadScreen, mostScreened } from "./head_screen.ts";
import type { ScreenChoice } from "./screen_choice.ts";

/** Where more rows than this share may be among the largest, or are allowed, all are read. */
const mostReaching = 0.25;
/** No logits. */
const none: Picked = { ids: new Uint32Array(), logits: new Float32Array() };

/** What is screened of a step's rows. */
interface Screened {
  /** Of each row, how many logits are picked */
  readonly picks: readonly number[];
  /** What it has taken so far */
  readonly ms: number;
  /** Whether kernels were tried, which takes longer */
  readonly isTrial: boolean;
}

/** Computes logits. */
export class Head {
  readonly #logits: F32Rows;
  /** Room for the ids of rows, and for a number of each */
  readonly #ids: number;
  readonly #values: number;
  readonly #screen?: HeadScreen;
  #picked: Picked[] = [];
  /** Present where rows are being screened */
  #screened?: Screened;
  /** By row, the mask under which it is picked from */
  #masks: readonly (TokenMask | undefined)[] = [];
  /** Rows of `output` that were read, in the step that has this number */
  readonly #readIn: Uint32Array;
  #steps = 0;

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
    const { rows } = output;
    const listed = Math.min(tokens, mostScreened);
    // All rows, behind as many as may be there.
    this.#ids = memory.allocate(4 * (rows + this.#mostIds(listed)));
    this.#values = memory.allocate(4 * rows);
    this.#readIn = new Uint32Array(rows);
    if (choice) {
      this.#screen = new HeadScreen(memory, model, output, normed, listed);
    }
  }

  /**
   * Computes logits: of row i of `normed` the `picks[i]` largest, or what {@linkcode reach}
   * begins with; all of them where that is 0. Those that `masks[i]` forbids are not
   * picked. Gives the bytes of weights read.
   */
  run(
    picks: readonly number[],
    masks: readonly (TokenMask | undefined)[] = [],
  ): number {
    const { length } = picks;
    this.#masks = masks;
    this.#steps++;
    // Where some want all logits, all rows are read, and so they are for the others.
    const isListed = length <= mostScreened && picks.every((k) => k > 0);
    const allowed = isListed ? this.#listAllowed(length) : undefined;
    if (allowed) return this.#pickOf(allowed, picks);
    const screen = isListed ? this.#screen : undefined;
    const start = performance.now();
    if (screen?.isReady && this.choice!.screens(length, Math.max(...picks))) {
      const isTrial = screen.isTrying(length);
      const bytes = this.#begin(screen, picks);
      if (bytes !== undefined) {
        this.#screened = { picks, ms: performance.now() - start, isTrial };
        return bytes;
      }
    }
    const bytes = this.#multiply(picks);
    if (screen && !screen.isLost) {
      this.choice!.addWhole(length, performance.now() - start);
      if (this.choice!.learns(screen.seen)) screen.see(length);
      else if (!screen.isReady) screen.copySome();
    }
    return bytes;
  }

  /** Computes what is missing of the logits that are `least[i]` or more in row i, where rows are screened. Gives the bytes of weights read. */
  reach(least: readonly number[]): number {
    const screened = this.#screened;
    if (!screened) return 0;
    this.#screened = undefined;
    const { picks, ms, isTrial } = screened;
    const start = performance.now();
    const counts = this.#select(least);
    const bytes = counts ? this.#pickOf(counts, picks) : this.#multiply(picks);
    const all = ms + performance.now() - start;
    if (!isTrial) {
      this.choice!.addScreened(picks.length, Math.max(...picks), all);
    }
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
  #begin(screen: HeadScreen, picks: readonly number[]): number | undefined {
    const count = picks.reduce((sum, k) => sum + k, 0);
    if (count > this.#mostIds(picks.length)) return undefined;
    const bytes = screen.approximate(this.#logits, picks.length);
    if (bytes === undefined) return undefined;
    const { memory, output: { rows } } = this;
    let ids = this.#ids;
    picks.forEach((k, row) => {
      this.#forbid(row);
      memory.kernels.largest(this.#pointer(row), rows, k, ids);
      memory.u32(ids, k).sort();
      ids += 4 * k;
    });
    return bytes + this.#pickOf(picks, picks);
  }

  /** Puts the ids of what masks allow one behind the other. Gives how many they are of each row; undefined where they are too many. */
  #listAllowed(count: number): number[] | undefined {
    const start = this.#first, end = start + this.output.rows;
    const counts: number[] = [];
    let room = this.#mostIds(count);
    for (let row = 0; row < count; row++) {
      const mask = this.#masks[row];
      const allowed = mask ? countAllowed(mask, start, end) : Infinity;
      if ((room -= allowed) < 0) return undefined;
      counts.push(allowed);
    }
    let ids = this.#ids;
    counts.forEach((count, row) => {
      listAllowed(this.#masks[row]!, this.memory.u32(ids, count), start, end);
      ids += 4 * count;
    });
    return counts;
  }

  /** Puts the ids of what may be `least[i]` or more in row i one behind the other. Gives how many they are of each row; undefined where they are too many. */
  #select(least: readonly number[]): number[] | undefined {
    const most = this.#mostIds(least.length);
    const counts: number[] = [];
    let count = 0;
    for (const [row, value] of least.entries()) {
      const ids = this.#ids + 4 * count;
      const found = this.#screen!.select(row, this.#pointer(row), value, ids);
      if ((count += found) > most) return undefined;
      counts.push(found);
    }
    return counts;
  }

  /** Picks from the exact logits of the rows in `#ids` alone, of which each of `normed` has some. Gives the bytes of weights read. */
  #pickOf(counts: readonly number[], picks: readonly number[]): number {
    const { memory, output, normed } = this;
    output.multiplyListed(normed, this.#ids, counts, this.#logits);
    let bytes = 0, from = this.#ids;
    this.#picked = counts.map((count, row) => {
      const ids = memory.u32(from, count).slice();
      from += 4 * count;
      const all = this.row(row), values = memory.f32(this.#values, count);
      const mask = this.#masks[row];
      for (let i = 0; i < count; i++) {
        const id = ids[i];
        const isAllowed = !mask || allows(mask, this.#first + id);
        values[i] = isAllowed ? all[id] : -Infinity;
        if (this.#readIn[id] === this.#steps) continue;
        this.#readIn[id] = this.#steps;
        bytes += output.rowBytes;
      }
      this.#finish(this.#values, count);
      const found = this.#pick(this.#values, count, picks[row]);
      return { ...found, ids: found.ids.map((i) => ids[i]) };
    });
    return bytes;
  }

  #multiply(picks: readonly number[]): number {
    const { length } = picks;
    const bytes = this.output.multiply(this.normed, length, this.#logits);
    this.#finish(this.#logits.pointer, length * this.#logits.stride);
    const { rows } = this.output;
    this.#picked = picks.map((k, row) => {
      if (k === 0) return none;
      this.#forbid(row);
      return this.#pick(this.#pointer(row), rows, k);
    });
    return bytes;
  }

  #forbid(row: number): void {
    const mask = this.#masks[row];
    if (mask) forbid(mask, this.row(row), this.#first);
  }

  /** The token whose logit comes first. */
  get #first(): number {
    return spanOf(this.output.shard.rows).start;
  }

  #pick(values: number, count: number, k: number): Picked {
    const { memory } = this;
    const found = memory.kernels.largest(values, count, k, this.#ids);
    const ids = memory.u32(this.#ids, found).slice();
    const all = memory.f32(values, count);
    return { ids, logits: Float32Array.from(ids, (id) => all[id]) };
  }

  /** How many rows are read one by one for so many states, at most. */
  #mostIds(states: number): number {
    return Math.floor(mostReaching * this.output.rows * states);
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
