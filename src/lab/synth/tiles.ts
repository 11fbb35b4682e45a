/**
 * Matrices of random weights, put together from square tiles that were
 * quantised once, so that a file costs little more than copying it. A tile is
 * quantised along its rows and, where requested, along its columns: a
 * matrix and its transpose hold the same weights.
 */
import { quantise } from "../../formats/ggml/quantise.ts";
import { type GgmlType, rowBytes } from "../../formats/ggml/types.ts";
import { gaussians, randomFor } from "./random.ts";
import type { FillRow } from "./rows.ts";

/** Rows and columns of a tile: the longest block of any type. */
const side = 256;
const tileCount = 16;

/** Normal weights of one standard deviation. */
export class Tiles {
  readonly #weights: Float32Array<ArrayBuffer>;
  #bytes?: Uint8Array;
  #transposedBytes?: Uint8Array;

  /** `use` tells tiles of one seed apart. */
  constructor(
    readonly type: GgmlType,
    readonly deviation: number,
    readonly seed: number,
    use: string,
  ) {
    const random = randomFor(seed, `tiles ${use}`);
    const half = gaussians(tileCount / 2 * side * side, deviation, random);
    // Each tile has a negative, or what positive values of many neurons add up
    // to would be alike in all layers, and grow with them.
    this.#weights = new Float32Array(2 * half.length);
    this.#weights.set(half);
    this.#weights.set(half.map((weight) => -weight), half.length);
  }

  /** A matrix of `columns` a row; its name and the seed tell its weights. */
  matrix(name: string, rows: number, columns: number): FillRow {
    this.#bytes ??= quantise(this.type, this.#weights);
    const across = Math.ceil(columns / side);
    const grid = this.#grid(name, rows, columns);
    return this.#fill(this.#bytes, columns, (row, i) => grid[row * across + i]);
  }

  /** The same matrix turned over its diagonal: `rows` weights in each row. */
  transposed(name: string, rows: number, columns: number): FillRow {
    this.#transposedBytes ??= quantise(this.type, transpose(this.#weights));
    const across = Math.ceil(columns / side);
    const grid = this.#grid(name, rows, columns);
    const tileAt = (row: number, i: number) => grid[i * across + row];
    return this.#fill(this.#transposedBytes, rows, tileAt);
  }

  /** Which tile lies where. */
  #grid(name: string, rows: number, columns: number): Uint8Array {
    const random = randomFor(this.seed, name);
    return Uint8Array.from(
      { length: Math.ceil(rows / side) * Math.ceil(columns / side) },
      () => (random.nextUint32() >>> 24) % tileCount,
    );
  }

  #fill(
    bytes: Uint8Array,
    length: number,
    tileAt: (tileRow: number, tileColumn: number) => number,
  ): FillRow {
    const stride = rowBytes(this.type, side);
    const end = rowBytes(this.type, length);
    return (row, target) => {
      const tileRow = Math.floor(row / side);
      for (let i = 0, at = 0; at < end; i++, at += stride) {
        const from = (tileAt(tileRow, i) * side + row % side) * stride;
        const width = Math.min(stride, end - at);
        target.set(bytes.subarray(from, from + width), at);
      }
    };
  }
}

/** Turns each tile over its diagonal. */
function transpose(weights: Float32Array): Float32Array {
  return weights.map((_, at) => {
    const column = at % side;
    const row = Math.floor(at / side) % side;
    return weights[at + (column - row) * (side - 1)];
  });
}
