/**
 * Matrices of which one input is multiplied with all, one above another. Where
 * their rows lie in memory one behind the other, they are one matrix: each
 * product begins with a wait for its first rows, 2 µs of the 5 that the keys of a
 * small model take.
 */
import { lengthOf } from "../model/index_set.ts";
import type { Shard } from "../model/shard.ts";
import {
  type F32Rows,
  PackedMatrix,
  type ProductInput,
  type Room,
} from "./matrix.ts";
import type { WasmMemory } from "./memory.ts";
import { kindOf, packedRowBytes } from "./packing.ts";

/** Room for shards one behind the other, where their rows are alike. */
export function joinedRooms(
  memory: WasmMemory,
  shards: readonly Shard[],
): Room[] {
  const layouts = shards.map((shard) => {
    const { rows, columns } = shard;
    const kind = kindOf(shard);
    return {
      kind,
      stride: packedRowBytes(kind, lengthOf(columns)),
      rows: lengthOf(rows),
    };
  });
  const bytes = layouts.reduce(
    (sum, { stride, rows }) => sum + stride * rows,
    0,
  );
  let pointer = memory.allocate(bytes);
  return layouts.map(({ kind, stride, rows }) => {
    const room = { pointer, stride, kind };
    pointer += stride * rows;
    return room;
  });
}

/** The same rows as few matrices as can be. */
export function joined(matrices: readonly PackedMatrix[]): PackedMatrix[] {
  const all: PackedMatrix[] = [];
  for (const matrix of matrices) {
    const above = all.at(-1);
    if (above && follows(above, matrix)) {
      all[all.length - 1] = join(above, matrix);
    } else all.push(matrix);
  }
  return all;
}

function follows(above: PackedMatrix, matrix: PackedMatrix): boolean {
  const { kind, columns, stride, pointer } = matrix;
  return above.kind === kind && above.columns === columns &&
    above.stride === stride &&
    above.pointer + above.rows * stride === pointer;
}

function join(above: PackedMatrix, { rows }: PackedMatrix): PackedMatrix {
  const { memory, shard } = above;
  const all = { start: 0, end: above.rows + rows };
  return new PackedMatrix(memory, { ...shard, rows: all }, undefined, above);
}

/** out[t] = all matrices' rows · x[t], one matrix's behind another's; returns the bytes of weights read. */
export function multiplyAll(
  matrices: readonly PackedMatrix[],
  x: ProductInput,
  tokens: number,
  { pointer, stride }: F32Rows,
): number {
  let first = 0, bytes = 0;
  for (const matrix of matrices) {
    const out = { pointer: pointer + 4 * first, stride };
    bytes += matrix.multiply(x, tokens, out);
    first += matrix.rows;
  }
  return bytes;
}
