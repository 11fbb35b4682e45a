import { allocateRows, type F32Rows } from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import { packedKind } from "../../kernels/packing.ts";

/** Rows that are turned at once: a cache line of a column's. */
const tile = 16;

/** An f32 matrix `[rows, columns]` in WASM memory; each row begins `stride` floats after the one before. */
export class Dense implements F32Rows {
  readonly pointer: number;
  readonly stride: number;

  /** Takes the rows that are given, or makes room for them, filled with zeros. */
  constructor(
    readonly memory: WasmMemory,
    readonly rows: number,
    readonly columns: number,
    { pointer, stride }: F32Rows = allocateRows(memory, rows, columns),
  ) {
    this.pointer = pointer;
    this.stride = stride;
  }

  /** `count` rows from `first` on, where they lie. */
  part(first: number, count: number): Dense {
    const { memory, columns, stride } = this;
    const pointer = this.pointer + 4 * first * stride;
    return new Dense(memory, count, columns, { pointer, stride });
  }

  /** One row, as long as the memory does not grow. */
  row(index: number): Float32Array {
    const start = this.pointer + 4 * index * this.stride;
    return this.memory.f32(start, this.columns);
  }

  /** out = x · matrixᵀ: row t of `out`, `[x.rows, rows]`, is matrix · row t of x. */
  times(x: Dense, out: Dense): Dense {
    this.memory.kernels.matmul(
      packedKind.f32,
      this.pointer,
      4 * this.stride,
      this.rows,
      this.columns,
      x.pointer,
      4 * x.stride,
      x.rows,
      out.pointer,
      out.stride,
    );
    return out;
  }

  /** Makes every number 0. */
  clear(): void {
    this.memory.clear(this.pointer, this.rows * this.stride);
  }

  /** out = x · matrix: row t of `out`, `[x.rows, columns]`, is matrixᵀ · row t of x. */
  transposedTimes(x: Dense, out: Dense): Dense {
    out.clear();
    this.memory.kernels.axpy_rows(
      packedKind.f32,
      this.pointer,
      4 * this.stride,
      this.rows,
      this.columns,
      x.pointer,
      x.stride,
      x.rows,
      out.pointer,
      out.stride,
    );
    return out;
  }

  /** out = thisᵀ, `[columns, rows]`. */
  transposed(out: Dense): Dense {
    const { rows, columns } = this;
    const from = this.#all(), to = out.#all();
    // A tile's lines of both stay in L1.
    for (let top = 0; top < rows; top += tile) {
      const bottom = Math.min(top + tile, rows);
      for (let j = 0; j < columns; j++) {
        for (let i = top; i < bottom; i++) {
          to[j * out.stride + i] = from[i * this.stride + j];
        }
      }
    }
    return out;
  }

  /** Each number becomes what `of` makes of it. */
  map(of: (value: number, row: number, column: number) => number): void {
    for (let i = 0; i < this.rows; i++) {
      const row = this.row(i);
      for (let j = 0; j < row.length; j++) row[j] = of(row[j], i, j);
    }
  }

  /** Every number below 0 becomes 0. */
  relu(): Dense {
    this.memory.kernels.relu(this.pointer, this.rows * this.stride);
    return this;
  }

  /** All rows with what pads them; as long as the memory does not grow. */
  #all(): Float32Array {
    return this.memory.f32(this.pointer, this.rows * this.stride);
  }

  /** The mean of the squares of all numbers. */
  meanSquare(): number {
    let squares = 0;
    for (let i = 0; i < this.rows; i++) {
      for (const value of this.row(i)) squares += value * value;
    }
    return squares / this.rows / this.columns;
  }

  /** this = a · this + b · other, of the same shape. */
  combine(a: number, b: number, other: Dense): void {
    for (let i = 0; i < this.rows; i++) {
      const row = this.row(i), added = other.row(i);
      for (let j = 0; j < row.length; j++) row[j] = a * row[j] + b * added[j];
    }
  }

  /** this = other, of the same shape. */
  copy(other: Dense): void {
    for (let i = 0; i < this.rows; i++) this.row(i).set(other.row(i));
  }
}
