/**
 * Which rows and columns a matrix on the device is made of.
 *
 * @module
 */
import {
  indexAt,
  type IndexSet,
  isList,
  lengthOf,
  numbering,
} from "../../../model/index_set.ts";
import { readColumns, type Shard } from "../../../model/shard.ts";
import { type MatrixShape, matrixShape } from "./matrix.ts";
import type { KeptColumns } from "./packing.ts";

/** A matrix, and the shards whose rows it holds one after another. */
export interface MatrixLayout extends MatrixShape {
  readonly shards: readonly Shard[];
  /** What is kept of their rows */
  readonly kept: KeptColumns;
}

/** The matrix of one shard; of its columns the place keeps those that are its own. */
export function matrixOf(shard: Shard, own?: IndexSet): MatrixLayout {
  const { tensor, rows } = shard;
  const kept = keptColumns(shard, own);
  const shape = matrixShape(tensor.type, lengthOf(rows), kept.runs);
  return { ...shape, shards: [shard], kept };
}

/** The matrices of several shards with the same columns, one for each type of weights. */
export function matricesByType(shards: readonly Shard[]): MatrixLayout[] {
  const matrices: MatrixLayout[] = [];
  for (const shard of shards) {
    const matrix = matrixOf(shard);
    const same = matrices.findIndex(({ type }) => type === matrix.type);
    if (same < 0) matrices.push(matrix);
    else matrices[same] = joined(matrices[same], matrix);
  }
  return matrices;
}

function joined(a: MatrixLayout, b: MatrixLayout): MatrixLayout {
  return { ...a, rows: a.rows + b.rows, shards: [...a.shards, ...b.shards] };
}

/** Keeps the columns `own` of a shard: it may have more, since it is widened to whole blocks. */
export function keptColumns(
  shard: Shard,
  own: IndexSet = shard.columns,
): KeptColumns {
  const { length } = readColumns(shard);
  if (!isList(shard.columns) && !isList(own)) {
    return { length, runs: lengthOf(own) > 0 ? [own] : [] };
  }
  const numberOf = isList(shard.columns)
    ? numbering(shard.columns)
    : (index: number) => index;
  const runs: { start: number; end: number }[] = [];
  for (let i = 0; i < lengthOf(own); i++) {
    const column = numberOf(indexAt(own, i));
    const last = runs.at(-1);
    if (last?.end === column) last.end++;
    else runs.push({ start: column, end: column + 1 });
  }
  return { length, runs };
}
