/**
 * Which rows and columns a matrix on the device is made of.
 *
 * @module
 */
import { type IndexSet, lengthOf } from "../../plan/indices.ts";
import type { Slice } from "../slices.ts";
import { type KeptColumns, keptColumns } from "./columns.ts";
import { type MatrixShape, matrixShape } from "./matrix.ts";

/** A matrix, and the slices whose rows it holds one after another. */
export interface MatrixLayout extends MatrixShape {
  readonly slices: readonly Slice[];
  /** What is kept of their rows */
  readonly kept: KeptColumns;
}

/** The matrix of one slice; of its columns the place keeps those that are its own. */
export function matrixOf(slice: Slice, own?: IndexSet): MatrixLayout {
  const { tensor, rows } = slice;
  const kept = keptColumns(slice, own);
  const shape = matrixShape(tensor.type, lengthOf(rows), kept.runs);
  return { ...shape, slices: [slice], kept };
}

/** The matrices of several slices with the same columns, one for each type of weights. */
export function matricesByType(slices: readonly Slice[]): MatrixLayout[] {
  const matrices: MatrixLayout[] = [];
  for (const slice of slices) {
    const matrix = matrixOf(slice);
    const same = matrices.findIndex(({ type }) => type === matrix.type);
    if (same < 0) matrices.push(matrix);
    else matrices[same] = joined(matrices[same], matrix);
  }
  return matrices;
}

function joined(a: MatrixLayout, b: MatrixLayout): MatrixLayout {
  return { ...a, rows: a.rows + b.rows, slices: [...a.slices, ...b.slices] };
}
