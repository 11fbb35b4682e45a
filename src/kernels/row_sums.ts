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

/** Room for sums side by side. */
export class RowSums {
  /** `[tokens, stride]` each */
  readonly levels: readonly F32Rows[];
  /** Address of a table of their addresses */
  readonly table: number;

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
    memory.u32(this.table, depth)
      .set(this.levels.map(({ pointer }) => pointer));
  }

  /**
   * Σ h[t][j] · row j, group by group; what is left of the groups goes to the
   * first levels. Rows whose h is 0 for every token are left unread. Returns the
   * rows read.
   */
  addRows(
    { kind, pointer, stride, columns }: PackedMatrix,
    groups: RowGroups,
    h: F32Rows,
    tokens: number,
  ): number {
    return this.memory.kernels.axpy_groups(
      kind,
      pointer,
      stride,
      groups.order,
      groups.ends,
      groups.merges,
      groups.count,
      columns,
      h.pointer,
      h.stride,
      tokens,
      this.table,
      this.levels[0].stride,
    );
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
