/**
 * Neurons whose rows of gate, up and down lie side by side. Where a predictor
 * picks neurons, that is one wait for memory a neuron instead of three; where
 * all gates are read it would only be in the way.
 */
import { lengthOf } from "../../model/index_set.ts";
import type { LayerShards } from "../../model/shard.ts";
import type {
  F32Rows,
  PackedMatrix,
  ProductInput,
  Room,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { RowGroups, RowSums } from "../../kernels/row_sums.ts";
import { kindOf, packedRowBytes } from "../../kernels/packing.ts";

/** Room for the rows of a layer of which `neuronsLieSideBySide`, by tensor. */
export function interleavedRows(
  memory: WasmMemory,
  layer: LayerShards,
): Record<string, Room> {
  const ffn_gate = layer.ffn_gate!;
  const row = packedRowBytes(kindOf(ffn_gate), lengthOf(ffn_gate.columns));
  const stride = 3 * row;
  const pointer = memory.allocate(lengthOf(ffn_gate.rows) * stride);
  return {
    ffn_gate: { pointer, stride },
    ffn_up: { pointer: pointer + row, stride },
    ffn_down_t: { pointer: pointer + 2 * row, stride },
  };
}

/** A layer's gate rows, beside which the others may lie. */
interface GateRows {
  readonly ffn_gate?: PackedMatrix;
}

/** Whether a layer's rows lie so. */
export function liesSideBySide({ ffn_gate }: GateRows): boolean {
  return ffn_gate !== undefined && ffn_gate.stride > ffn_gate.rowBytes;
}

/** The kernel of such neurons, with scratch for it. */
export class NeuronKernel {
  readonly #read: number;

  constructor(readonly memory: WasmMemory, readonly activation: number) {
    this.#read = memory.allocate(8);
  }

  /**
   * For the `count` neurons of `ids`, group by group, and one token: gates, ups
   * where the gate is positive, and the sum of h · down, written to `sums`.
   * Other gates become zero. Gives how many rows of each matrix were read.
   */
  run(
    { ffn_gate }: Required<GateRows>,
    x: ProductInput,
    ids: number,
    count: number,
    gate: F32Rows,
    up: F32Rows,
    groups: RowGroups,
    sums: RowSums,
  ): { gate: number; up: number; down: number } {
    const { kind, pointer, stride, columns, rows } = ffn_gate;
    const [input] = x.input(kind, columns, 1);
    this.memory.clear(gate.pointer, rows);
    this.memory.kernels.neurons(
      kind,
      this.activation,
      pointer,
      stride,
      ids,
      count,
      columns,
      input,
      gate.pointer,
      up.pointer,
      groups.groupOf,
      groups.merges,
      groups.count,
      sums.table,
      this.#read,
    );
    const [ups, downs] = this.memory.u32(this.#read, 2);
    return { gate: count, up: ups, down: downs };
  }
}
