/**
 * Dense f32 matrices in WASM memory, multiplied by the kernels: what making a
 * predictor spends its time with.
 *
 * @module
 */
import { allocateRows, type F32Rows } from "../places/cpu/matrix.ts";
import type { WasmMemory } from "../places/cpu/memory.ts";
import { packedKind } from "../places/cpu/packing.ts";

/** A matrix `[rows, columns]`; each row begins `stride` floats after the one before. */
export class Dense implements F32Rows {
  readonly pointer: number;
  readonly stride: number;

  /** Makes room for it, filled with zeros. */
  constructor(
    readonly memory: WasmMemory,
    readonly rows: number,
    readonly columns: number,
  ) {
    const { pointer, stride } = allocateRows(memory, rows, columns);
    this.pointer = pointer;
    this.stride = stride;
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

  /** out = x · matrix: row t of `out`, `[x.rows, columns]`, is matrixᵀ · row t of x. */
  transposedTimes(x: Dense, out: Dense): Dense {
    this.memory.clear(out.pointer, out.rows * out.stride);
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
