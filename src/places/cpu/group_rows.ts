/**
 * The neurons of a place as the groups in which they are summed
 * (`plan/groups.ts`), as the kernels read them.
 */
import { groupOf, groupSums } from "../../plan/groups.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { RowGroups } from "../../kernels/row_sums.ts";
import { lengthOf } from "../../model/index_set.ts";
import { neuronsInOrder, type Part } from "../../plan/plan.ts";

/** Tables of one layer in WASM memory. Rows are numbered as the place stores them. */
export class GroupRows implements RowGroups {
  readonly count: number;
  /** Within a group in the order of the file */
  readonly order: number;
  readonly ends: number;
  readonly groupOf: number;
  readonly merges: number;
  /** Sums that are left of the groups */
  readonly terms: number;
  /** How many rows there are */
  readonly rows: number;

  /** For a part of a layer of `neurons` neurons. */
  constructor(memory: WasmMemory, neurons: number, part: Part) {
    const { groups, merges, terms } = groupSums(neurons, part.neurons);
    const ids = neuronsInOrder(part);
    const order = ids.map((_, row) => row).sort((a, b) => ids[a] - ids[b]);
    const groupsOf = ids.map((id) => groupOf(neurons, id) - groups.start);
    const ends = new Uint32Array(lengthOf(groups));
    order.forEach((row, i) => ends[groupsOf[row]] = i + 1);
    const put = (values: ArrayLike<number>) => {
      const pointer = memory.allocate(4 * values.length);
      memory.u32(pointer, values.length).set(values);
      return pointer;
    };
    this.count = lengthOf(groups);
    this.terms = terms;
    this.rows = ids.length;
    this.order = put(order);
    this.ends = put(ends);
    this.groupOf = put(groupsOf);
    this.merges = put(merges);
  }
}
