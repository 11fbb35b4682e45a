import { dequantise } from "../../formats/ggml/dequantise.ts";
import { quantise } from "../../formats/ggml/quantise.ts";
import {
  type GgmlType,
  ggmlTypes,
  rowBytes,
} from "../../formats/ggml/types.ts";
import type { TensorToWrite } from "../../formats/gguf/write.ts";
import { ggufName } from "../../model/schema.ts";
import type { Dense } from "./dense.ts";

/** fc1 `[rank, hiddenSize]` and fc2 `[feedForwardSize, rank]`. */
export interface Network {
  readonly fc1: Dense;
  readonly fc2: Dense;
}

/** How the two are stored, where their rows are whole blocks; F16 where they are not. */
const types: Readonly<Record<keyof Network, GgmlType>> = {
  fc1: "Q8_0",
  fc2: "Q4_0",
};

/** A tensor whose bytes are there. */
export type StoredTensor = TensorToWrite & { readonly data: Uint8Array };

/** The type of a matrix whose rows have as many columns. */
function typeOf(name: keyof Network, columns: number): GgmlType {
  const type = types[name];
  return columns % ggmlTypes[type].blockSize === 0 ? type : "F16";
}

/**
 * Scales each row of fc1, and back its column of fc2, such that the column has
 * a mean square of 1. The scores stay, with a ReLU between the two as well; but
 * a block of fc2 is then of one size, and is stored with less error.
 */
export function balance({ fc1, fc2 }: Network): void {
  const squares = new Float64Array(fc1.rows);
  for (let j = 0; j < fc2.rows; j++) {
    fc2.row(j).forEach((value, k) => squares[k] += value * value / fc2.rows);
  }
  const scales = squares.map((square) => square > 0 ? Math.sqrt(square) : 1);
  fc2.map((value, _, k) => value / scales[k]);
  fc1.map((value, k) => value * scales[k]);
}

/** Stores a matrix row by row; `kept`, which may be the matrix itself, takes what the file will say. */
export function store(
  name: keyof Network,
  matrix: Dense,
  kept: Dense,
): Uint8Array {
  const type = typeOf(name, matrix.columns);
  const stride = rowBytes(type, matrix.columns);
  const data = new Uint8Array(matrix.rows * stride);
  for (let i = 0; i < matrix.rows; i++) {
    const bytes = quantise(type, matrix.row(i));
    dequantise(type, bytes, kept.row(i));
    data.set(bytes, i * stride);
  }
  return data;
}

/** A matrix's bytes as the tensor of a layer. */
export function tensorOf(
  layer: number,
  name: keyof Network,
  { rows, columns }: Dense,
  data: Uint8Array,
): StoredTensor {
  return {
    name: ggufName(name, layer),
    type: typeOf(name, columns),
    shape: [columns, rows],
    data,
  };
}
