/** Matrices on the device, and which rows and columns they are made of. */
import type { GgmlType } from "../../../formats/ggml/types.ts";
import {
  indexAt,
  type IndexSet,
  isList,
  lengthOf,
  numbering,
  type Range,
} from "../../../model/index_set.ts";
import { readColumns, type Rows, type Shard } from "../../../model/shard.ts";
import { workgroups } from "../kernels/products.ts";
import type { PackedType } from "../kernels/weights.ts";
import type { Buffers } from "./buffers.ts";
import {
  columnsOf,
  groupsOf,
  type KeptColumns,
  packedRowBytes,
  packedTypeOf,
  type RowPacker,
} from "./packing.ts";

/** Type and size of a matrix, known without a device. */
export interface MatrixShape {
  readonly type: PackedType;
  readonly rows: number;
  readonly columns: number;
  /** Rows of one expert, which stay in one buffer; where there are several */
  readonly expertRows?: number;
}

/** The matrix that keeps the columns `runs` of rows of a tensor. */
export function matrixShape(
  type: GgmlType,
  rows: number,
  runs: readonly Range[],
): MatrixShape {
  return { type: packedTypeOf(type, runs), rows, columns: columnsOf(runs) };
}

export function matrixBytes({ type, rows, columns }: MatrixShape): number {
  return rows * packedRowBytes(type, columns);
}

/** How many rows of a matrix one buffer holds. */
export function rowsOfPiece(
  { type, columns, expertRows = 1 }: MatrixShape,
  pieceBytes: number,
): number {
  const bytes = expertRows * packedRowBytes(type, columns);
  return expertRows * Math.max(1, Math.floor(pieceBytes / bytes));
}

/** Rows that a kernel reads in one go: in a buffer of several types each has a multiple of so many, beside the last. */
export const rowsAtOnce = workgroups.all.rows_each;

/** Bytes that what is bound within a buffer begins at a multiple of; rows have multiples of 16. */
const bindingStep = 256, rowsBetween = bindingStep / 16;

/**
 * Where matrices begin that lie one after another in one buffer: each behind a
 * multiple of its own rows' bytes, so that it is found by counting rows of its
 * own size, and where it can be bound alone; and the bytes of all.
 */
export function stackOf(
  shapes: readonly MatrixShape[],
): { bases: number[]; bytes: number } {
  let bytes = 0;
  const bases = shapes.map(({ type, rows, columns }) => {
    const rowBytes = packedRowBytes(type, columns);
    const base = rowsBetween * Math.ceil(bytes / rowBytes / rowsBetween);
    bytes = (base + rows) * rowBytes;
    return base;
  });
  return { bases, bytes };
}

/** Rows of a matrix that lie in one buffer. */
export interface Piece {
  readonly buffer: GPUBuffer;
  /** The number of the first row in the matrix */
  readonly first: number;
  readonly rows: number;
  /** Rows of this size that lie before them, or have room there */
  readonly base: number;
}

/** Bytes of weights that are packed and uploaded at once. */
const chunkBytes = 4 << 20;

/** A packed matrix, cut into as many buffers as bindings of the device need, or in one behind others. */
export class DeviceMatrix implements MatrixShape {
  readonly type: PackedType;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly rowBytes: number;

  private constructor(
    readonly buffers: Buffers,
    { type, rows, columns }: MatrixShape,
    readonly pieces: readonly Piece[],
  ) {
    this.type = type;
    this.rows = rows;
    this.columns = columns;
    this.groups = groupsOf(columns);
    this.rowBytes = packedRowBytes(type, columns);
  }

  /** Makes room for a matrix; {@linkcode write} fills it. */
  static make(
    buffers: Buffers,
    label: string,
    shape: MatrixShape,
    pieceBytes: number = buffers.device.maxBindingBytes,
  ): DeviceMatrix {
    const { type, rows, columns } = shape;
    const step = rowsOfPiece(shape, pieceBytes);
    const pieces = Array.from({ length: Math.ceil(rows / step) }, (_, i) => {
      const first = i * step;
      const count = Math.min(step, rows - first);
      const bytes = count * packedRowBytes(type, columns);
      const buffer = buffers.make(label, bytes, usage());
      return { buffer, first, rows: count, base: 0 };
    });
    return new DeviceMatrix(buffers, shape, pieces);
  }

  /** Makes room for matrices one after another in one buffer. */
  static stack(
    buffers: Buffers,
    label: string,
    shapes: readonly MatrixShape[],
  ): DeviceMatrix[] {
    const { bases, bytes } = stackOf(shapes);
    const buffer = buffers.make(label, bytes, usage());
    return shapes.map((shape, i) =>
      new DeviceMatrix(buffers, shape, [
        { buffer, first: 0, rows: shape.rows, base: bases[i] },
      ])
    );
  }

  get byteLength(): number {
    return this.rows * this.rowBytes;
  }

  /** A piece of it without others in its buffer: rows are then counted from its first. */
  boundAlone({ buffer, base, rows }: Piece): GPUBufferBinding {
    const { rowBytes } = this;
    return { buffer, offset: base * rowBytes, size: rows * rowBytes };
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
        (piece.base + start - piece.first) * this.rowBytes,
        packed.buffer,
        (start - first) * this.rowBytes,
        (end - start) * this.rowBytes,
      );
    }
    // What is written waits in the system's memory until something is submitted.
    queue.submit([]);
  }
}

function usage(): GPUBufferUsageFlags {
  return GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
}

/** A matrix, and the shards whose rows it holds one after another. */
export interface MatrixLayout extends MatrixShape {
  readonly shards: readonly Shard[];
  readonly kept: KeptColumns;
}

/** The matrix of one shard, of so many experts, where tokens choose among some; of its columns the place keeps those that are its own. */
export function matrixOf(
  shard: Shard,
  own?: IndexSet,
  expertCount?: number,
): MatrixLayout {
  const { tensor, rows } = shard;
  const kept = keptColumns(shard, own);
  const shape = matrixShape(tensor.type, lengthOf(rows), kept.runs);
  const expertRows = expertCount && shape.rows / expertCount;
  return { ...shape, expertRows, shards: [shard], kept };
}

/** The matrices of several shards with the same columns, one for each type of weights. */
export function matricesByType(shards: readonly Shard[]): MatrixLayout[] {
  const matrices = shards.map((shard) => matrixOf(shard));
  const byType = Map.groupBy(matrices, ({ type }) => type).values();
  return Array.from(byType, (same) => ({
    ...same[0],
    rows: same.reduce((sum, { rows }) => sum + rows, 0),
    shards: same.flatMap(({ shards }) => shards),
  }));
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
