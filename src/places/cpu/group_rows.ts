/**
 * The neurons of a place as the groups in which they are summed
 * (`plan/groups.ts`), as the kernels read them.
 */
import { groupOf, groupSums } from "../../plan/groups.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { RowGroups } from "../../kernels/row_sums.ts";
import { expertSize, withinExpert } from "../../model/experts.ts";
import { lengthOf, listOf } from "../../model/index_set.ts";
import type { Model } from "../../model/model.ts";
import { neuronsInOrder, type Part } from "../../plan/plan.ts";

/** Tables of one layer in WASM memory. Rows are numbered as the place stores them. */
export class GroupRows implements RowGroups {
  readonly count: number;
  /** Within a group in the order of the file, those of one expert behind those of another */
  readonly order: number;
  readonly ends: number;
  readonly groupOf: number;
  readonly merges: number;
  /** Sums that are left of the groups */
  readonly terms: number;
  /** How many rows each expert has */
  readonly rows: number;
  /** The rows of one expert, by group */
  readonly ordered: readonly Uint32Array[];
  /** By group, how many pairs of sums are added behind it */
  readonly mergeCounts: readonly number[];

  /** For a part of a layer. */
  constructor(readonly memory: WasmMemory, model: Model, part: Part) {
    const size = expertSize(model);
    const within = withinExpert(model, part.neurons);
    const { groups, merges, terms } = groupSums(size, within);
    const ids = part.firing ? neuronsInOrder(part) : listOf(within);
    const order = ids.map((_, row) => row).sort((a, b) => ids[a] - ids[b]);
    const groupsOf = ids.map((id) => groupOf(size, id) - groups.start);
    this.count = lengthOf(groups);
    this.ordered = Array.from(
      { length: this.count },
      (_, group) => order.filter((row) => groupsOf[row] === group),
    );
    const put = (values: ArrayLike<number>) => {
      const pointer = memory.allocate(4 * values.length);
      memory.u32(pointer, values.length).set(values);
      return pointer;
    };
    this.terms = terms;
    this.rows = ids.length;
    this.order = memory.allocate(4 * ids.length * model.expertCount);
    this.ends = memory.allocate(4 * this.count);
    this.groupOf = put(groupsOf);
    this.mergeCounts = merges;
    this.merges = put(merges);
    this.choose([0]);
  }

  /** Leaves the groups the rows of some experts alone, ascending: where those are, as many rows each. */
  choose(slots: readonly number[]): void {
    const { memory, rows } = this;
    const order = memory.u32(this.order, rows * slots.length);
    const ends = memory.u32(this.ends, this.count);
    let end = 0;
    this.ordered.forEach((own, group) => {
      for (const slot of slots) {
        for (let i = 0; i < own.length; i++) {
          order[end++] = slot * rows + own[i];
        }
      }
      ends[group] = end;
    });
  }
}
