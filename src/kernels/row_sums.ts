/**
 * Sums of rows with coefficients, in groups whose sums are added along a tree
 * (`wasm/src/groups.rs`).
 */
import { allocateRows, type F32Rows, type PackedMatrix } from "./matrix.ts";
import type { WasmMemory } from "./memory.ts";

/** Rows in groups: addresses of tables of u32 numbers. */
export interface RowGroups {
  /** How many groups there are */
  readonly count: number;
  /** The rows, group by group */
  readonly order: number;
  /** Where each group ends in `order` */
  readonly ends: number;
  /** The group of each row */
  readonly groupOf: number;
  /** By group, how many pairs of sums are added behind it */
  readonly merges: number;
}

/** Rows by number: an address, and how many. */
export interface RowList {
  readonly order: number;
  readonly count: number;
}

/** Room for sums side by side. */
export class RowSums {
  /** `[tokens, stride]` each */
  readonly levels: readonly F32Rows[];
  /** Address of a table of their addresses */
  readonly table: number;
  /** Of one group: where it ends, and that nothing is merged behind it */
  readonly #group: number;

  /** Room for `depth` sums of `maxTokens` rows of `width` numbers. */
  constructor(
    readonly memory: WasmMemory,
    depth: number,
    maxTokens: number,
    width: number,
  ) {
    this.levels = Array.from(
      { length: depth },
      () => allocateRows(memory, maxTokens, width),
    );
    this.table = memory.allocate(4 * depth);
    this.#group = memory.allocate(2 * 4);
    this.#begin(0);
  }

  /**
   * Σ h[t][j] · row j, group by group; what is left of the groups goes to the
   * first levels, from their row `first` on. Rows whose h is 0 for every token
   * are left unread. Returns the rows read.
   */
  addRows(
    matrix: PackedMatrix,
    groups: RowGroups,
    h: F32Rows,
    tokens: number,
    first = 0,
  ): number {
    this.#begin(first * this.levels[0].stride);
    return this.#add(matrix, groups, h, tokens, 0);
  }

  /**
   * The same for one group, whose `count` rows stand in `order`: its sum goes to
   * one level. Returns the rows read.
   */
  addGroup(
    matrix: PackedMatrix,
    { order, count }: RowList,
    h: F32Rows,
    tokens: number,
    level: number,
  ): number {
    const [ends, merges] = [0, 4].map((at) => this.#group + at);
    this.memory.u32(ends, 1)[0] = count;
    this.#begin(0);
    return this.#add(
      matrix,
      { order, ends, merges, count: 1 },
      h,
      tokens,
      level,
    );
  }

  /** Sums of groups, of which what is left goes to the levels from one on. */
  #add(
    { kind, pointer, stride, columns }: PackedMatrix,
    { order, ends, merges, count }: Omit<RowGroups, "groupOf">,
    h: F32Rows,
    tokens: number,
    level: number,
  ): number {
    return this.memory.kernels.axpy_groups(
      kind,
      pointer,
      stride,
      order,
      ends,
      merges,
      count,
      columns,
      h.pointer,
      h.stride,
      tokens,
      this.table + 4 * level,
      this.levels[0].stride,
    );
  }

  /** Adds a level to the one below. */
  merge(level: number, tokens: number): void {
    const { levels, memory } = this;
    const [into, from] = [levels[level - 1], levels[level]];
    memory.kernels.add(into.pointer, from.pointer, tokens * into.stride);
  }

  /** Has the table say where the rows from number `offset / stride` on lie. */
  #begin(offset: number): void {
    const { levels, memory } = this;
    const table = memory.u32(this.table, levels.length);
    levels.forEach(({ pointer }, i) => table[i] = pointer + 4 * offset);
  }

  /** The sum of terms of `length` numbers, merged as `merges` says: where it is. */
  add(
    terms: readonly Float32Array[],
    merges: readonly number[],
    length: number,
  ): number {
    const { levels, memory } = this;
    let depth = 0;
    terms.forEach((term, i) => {
      memory.f32(levels[depth++].pointer, length).set(term);
      for (let merge = 0; merge < merges[i]; merge++) {
        depth--;
        const into = levels[depth - 1].pointer;
        memory.kernels.add(into, levels[depth].pointer, length);
      }
    });
    return levels[0].pointer;
  }
}
