/**
 * Matrices on the device.
 *
 * @module
 */
import type { GgmlType } from "../../formats/ggml/types.ts";
import type { Range } from "../../plan/indices.ts";
import type { Rows } from "../slices.ts";
import type { Buffers } from "./buffers.ts";
import {
  columnsOf,
  groupsOf,
  packedRowBytes,
  type PackedType,
  packedTypeOf,
  type RowPacker,
} from "./packing.ts";

/** What a matrix is made of, told without a device. */
export interface MatrixShape {
  readonly type: PackedType;
  readonly rows: number;
  readonly columns: number;
}

/** The matrix that keeps the columns `runs` of rows of a tensor. */
export function matrixShape(
  type: GgmlType,
  rows: number,
  runs: readonly Range[],
): MatrixShape {
  return { type: packedTypeOf(type, runs), rows, columns: columnsOf(runs) };
}

/** Bytes of a packed matrix. */
export function matrixBytes({ type, rows, columns }: MatrixShape): number {
  return rows * packedRowBytes(type, columns);
}

/** How many rows of a matrix one buffer holds. */
export function rowsOfPiece(
  { type, columns }: MatrixShape,
  pieceBytes: number,
): number {
  return Math.max(
    1,
    Math.floor(pieceBytes / packedRowBytes(type, columns)),
  );
}

/** Rows of a matrix that lie in one buffer. */
export interface Piece {
  readonly buffer: GPUBuffer;
  /** The number of the first row in the matrix */
  readonly first: number;
  readonly rows: number;
}

/** Bytes of weights that are packed and handed over at once. */
const chunkBytes = 4 << 20;

/** A packed matrix, cut into as many buffers as bindings of the device need. */
export class DeviceMatrix implements MatrixShape {
  readonly type: PackedType;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  /** Bytes of a row. */
  readonly rowBytes: number;
  readonly pieces: readonly Piece[];

  /** Makes room; {@linkcode write} fills it. */
  constructor(
    readonly buffers: Buffers,
    label: string,
    shape: MatrixShape,
    pieceBytes: number = buffers.device.maxBindingBytes,
  ) {
    const { type, rows, columns } = shape;
    this.type = type;
    this.rows = rows;
    this.columns = columns;
    this.groups = groupsOf(columns);
    this.rowBytes = packedRowBytes(type, columns);
    const step = rowsOfPiece(shape, pieceBytes);
    this.pieces = Array.from({ length: Math.ceil(rows / step) }, (_, i) => {
      const first = i * step;
      const count = Math.min(step, rows - first);
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
      const buffer = buffers.make(label, count * this.rowBytes, usage);
      return { buffer, first, rows: count };
    });
  }

  /** Bytes of all rows. */
  get byteLength(): number {
    return this.rows * this.rowBytes;
  }

  /** Packs rows of the file; the first of them becomes row `first`. */
  write(packer: RowPacker, first: number, { count, bytes }: Rows): void {
    const stride = bytes.length / count;
    const step = Math.max(1, Math.floor(chunkBytes / this.rowBytes));
    for (let done = 0; done < count; done += step) {
      const n = Math.min(step, count - done);
      const packed = new Uint32Array(n * packer.rowWords);
      for (let i = 0; i < n; i++) {
        const row = bytes.subarray(
          (done + i) * stride,
          (done + i + 1) * stride,
        );
        packer.pack(row, packed, i * packer.rowWords);
      }
      this.#upload(packed, first + done, n);
    }
  }

  #upload(
    packed: Uint32Array<ArrayBuffer>,
    first: number,
    count: number,
  ): void {
    const { queue } = this.buffers.device.gpu;
    for (const piece of this.pieces) {
      const start = Math.max(first, piece.first);
      const end = Math.min(first + count, piece.first + piece.rows);
      if (start >= end) continue;
      queue.writeBuffer(
        piece.buffer,
        (start - piece.first) * this.rowBytes,
        packed.buffer,
        (start - first) * this.rowBytes,
        (end - start) * this.rowBytes,
      );
    }
    // What is written waits in the system's memory until something is submitted.
    queue.submit([]);
  }
}
