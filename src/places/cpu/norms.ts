/**
 * Norms over all heads, or all neurons, of which each place has some: places
 * hand one another sums of squares, and each norms its own. The sums are of
 * whole heads, or single neurons, and are added in the model's order, so that
 * every place finds the same norm, however they are cut.
 */
import type { F32Rows, PackedMatrix } from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import {
  indexAt,
  type IndexSet,
  lengthOf,
  type Range,
  spanOf,
} from "../../model/index_set.ts";

/** Rows that are normed as one with those of other places. */
export interface NormedRows {
  readonly rows: F32Rows;
  /** Numbers whose squares are summed: those of a head, or one */
  readonly unit: number;
  /** The heads, or neurons, of the rows, in their order */
  readonly ids: IndexSet;
  /** Where the sums of all places lie */
  readonly columns: Range;
  /** Of all, or of some that these are among */
  readonly weight: PackedMatrix;
}

/** Writes the squares of the first `n` rows to their columns of `squares`, `[n, stride]`. */
export function putSquares(
  memory: WasmMemory,
  { rows, unit, ids, columns }: NormedRows,
  n: number,
  squares: Float32Array,
): void {
  const count = lengthOf(ids);
  for (let t = 0; t < n; t++) {
    const own = rowOf(memory, rows, t, count * unit);
    const first = t * squares.length / n + columns.start;
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (let j = i * unit; j < (i + 1) * unit; j++) sum += own[j] * own[j];
      squares[first + indexAt(ids, i)] = sum;
    }
  }
}

/** Norms the first `n` rows by the squares of all. */
export function normBySquares(
  memory: WasmMemory,
  { rows, unit, ids, columns, weight }: NormedRows,
  n: number,
  squares: Float32Array,
  epsilon: number,
): void {
  const count = lengthOf(ids);
  const { start } = spanOf(weight.shard.columns);
  const weights = memory.f32(weight.pointer, weight.columns);
  for (let t = 0; t < n; t++) {
    const first = t * squares.length / n;
    let sum = 0;
    for (let i = columns.start; i < columns.end; i++) sum += squares[first + i];
    const mean = sum / (lengthOf(columns) * unit);
    const scale = 1 / Math.sqrt(mean + epsilon);
    const own = rowOf(memory, rows, t, count * unit);
    for (let i = 0; i < count; i++) {
      const at = indexAt(ids, i) * unit - start;
      for (let j = 0; j < unit; j++) {
        own[i * unit + j] *= scale * weights[at + j];
      }
    }
  }
}

function rowOf(
  memory: WasmMemory,
  { pointer, stride }: F32Rows,
  t: number,
  length: number,
): Float32Array {
  return memory.f32(pointer + 4 * t * stride, length);
}
