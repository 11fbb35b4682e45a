/** Rows and columns of tensors, and their bytes, streamed from the file. */
import type { ByteSource } from "../bytes/byte_source.ts";
import { FormatError } from "../errors.ts";
import { blockNotFinite } from "../formats/ggml/finite.ts";
import { ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import type { RowPiece, TensorInfo } from "../formats/gguf/gguf_file.ts";
import { indexAt, type IndexSet, isList, lengthOf } from "./index_set.ts";
import { interleavedPlace } from "./rope.ts";
import { eachTensor, type PerLayer, type PerTensor } from "./schema.ts";

/** Rows and columns of a tensor that one place loads. */
export interface Shard {
  readonly tensor: TensorInfo;
  /** Rows of the tensor, in the file's order */
  readonly rows: IndexSet;
  /** Columns of the tensor that the place keeps; a list is made of whole blocks of its type */
  readonly columns: IndexSet;
  /** Rows (or elements) of whole heads, which are read with rotated pairs side by side; otherwise left out */
  readonly halves?: { readonly headSize: number; readonly ropeSize: number };
}

/** The shards of one layer, by tensor. */
export type LayerShards = PerLayer<Shard>;

/** All that one place loads. */
export type PlaceShards = PerTensor<Shard>;

/** Every shard once. */
export function allShards(shards: PlaceShards): Generator<Shard> {
  return eachTensor(shards);
}

/** Bytes of all rows that {@linkcode readRows} gives. */
export function shardBytes(shard: Shard): number {
  return lengthOf(shard.rows) *
    rowBytes(shard.tensor.type, readColumns(shard).length);
}

/**
 * What the rows that {@linkcode readRows} gives consist of: how many weights,
 * all of the tensor's row or those of a list of columns, and where the shard's
 * columns begin among them.
 */
export function readColumns(
  { tensor, columns }: Shard,
): { length: number; first: number } {
  return isList(columns)
    ? { length: columns.length, first: 0 }
    : { length: tensor.shape[0], first: columns.start };
}

/** Some rows of a shard, as they stand in the file. */
export interface Rows {
  /** Number of the first row among the shard's */
  readonly first: number;
  readonly count: number;
  /** The rows, one behind the other ({@linkcode readColumns}); their buffer may be larger */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Reads a shard's rows, as many at a time as `chunkBytes` hold (one at least).
 * Takes a buffer to read into out of `spares`; the caller puts one back when it
 * is done with the rows in it.
 */
export async function* readRows(
  source: ByteSource,
  shard: Shard,
  spares: ArrayBuffer[] = [],
  chunkBytes = 1 << 20,
): AsyncGenerator<Rows> {
  const { tensor, rows } = shard;
  const rowLength = rowBytes(tensor.type, tensor.shape[0]);
  const { headSize = 1 } = shard.halves ?? {};
  const pieces = columnPieces(shard);
  const count = lengthOf(rows);
  for (let first = 0; first < count;) {
    const row = indexAt(rows, first);
    const { stride, ...piece } = pieceOf(tensor, row);
    const step = headSize *
      Math.max(1, Math.floor(chunkBytes / stride / headSize));
    const behind = stride === 0 ? row + 1 : Math.min(row + step, piece.end);
    let end = first + 1;
    while (end < count && indexAt(rows, end) < behind) end++;
    const offset = rowOffset(tensor, row);
    const length = (indexAt(rows, end - 1) - row) * stride + rowLength;
    const spare = spares.pop();
    const bytes = await source.read(offset, length, spare);
    // Frees a spare of no use now: the collector would let hundreds of MB pile up.
    const isLeft = spare && spare !== bytes.buffer && !spare.detached;
    if (isLeft) spare.transfer(0);
    const starts = Array.from(
      { length: end - first },
      (_, i) => (indexAt(rows, first + i) - row) * stride,
    );
    const isSpread = stride > rowLength;
    const kept = isSpread || isList(rows) || isList(shard.columns)
      ? moveTogether(bytes, starts, pieces)
      : bytes;
    if (shard.halves) interleave(kept, end - first, shard);
    yield { first, count: end - first, bytes: kept };
    first = end;
  }
}

/** Where a row's piece ends, and how far its rows are apart. */
function pieceOf(tensor: TensorInfo, row: number): RowPiece {
  const { type, shape: [columns], offset, pieces } = tensor;
  return pieces?.find(({ end }) => row < end) ??
    { first: 0, end: Infinity, offset, stride: rowBytes(type, columns) };
}

/** Where a tensor's rows lie in the file: from the first to the last one, with what is between them. */
export function fileSpan(
  tensor: TensorInfo,
): { readonly offset: number; readonly length: number } {
  const { type, shape: [columns, rows = 1] } = tensor;
  const offset = rowOffset(tensor, 0);
  const end = rowOffset(tensor, rows - 1) + rowBytes(type, columns);
  return { offset, length: end - offset };
}

/** Offset of a row's first byte in the file. */
export function rowOffset(tensor: TensorInfo, row: number): number {
  const { first, offset, stride } = pieceOf(tensor, row);
  return offset + (row - first) * stride;
}

/** @throws {FormatError} where a weight of the rows is infinite or NaN, or what it is multiplied with or added to. */
export function checkFinite(shard: Shard, { first, count, bytes }: Rows): void {
  const block = blockNotFinite(shard.tensor.type, bytes);
  if (block === undefined) return;
  const blocks = bytes.length / ggmlTypes[shard.tensor.type].blockBytes;
  throw notFinite(shard, first + Math.floor(block / (blocks / count)));
}

/** What is said of a row of a shard that has such a weight. */
export function notFinite(shard: Shard, row: number): FormatError {
  const { tensor, rows, halves } = shard;
  const { headSize, ropeSize } = halves ?? { headSize: 1, ropeSize: 0 };
  // Where the row stood before `interleave`.
  const at = row - row % headSize;
  const inHead = Array.from(
    { length: headSize },
    (_, i) => interleavedPlace(i, ropeSize),
  ).indexOf(row % headSize);
  return new FormatError(
    `Cannot read tensor ${tensor.name}: row ${
      indexAt(rows, at + inHead)
    } has a weight, or a scale of weights, that is infinite or NaN`,
  );
}

/** Puts the pairs of each head in `count` rows side by side: rows, or the elements of a vector. */
function interleave(
  bytes: Uint8Array,
  count: number,
  { tensor, halves }: Shard,
): void {
  const { headSize, ropeSize } = halves!;
  const length = bytes.length /
    (tensor.shape.length > 1 ? count : tensor.shape[0]);
  const moved = bytes.slice();
  for (let from = 0, row = 0; from < bytes.length; from += length, row++) {
    const i = row % headSize;
    const to = from + (interleavedPlace(i, ropeSize) - i) * length;
    bytes.set(moved.subarray(from, from + length), to);
  }
}

/** Bytes of a row that are kept: where they begin, and how many follow one another. */
type Piece = readonly [start: number, length: number];

function columnPieces({ tensor, columns }: Shard): Piece[] {
  if (!isList(columns)) return [[0, rowBytes(tensor.type, tensor.shape[0])]];
  const { blockSize, blockBytes } = ggmlTypes[tensor.type];
  const pieces: [number, number][] = [];
  for (let i = 0; i < columns.length; i += blockSize) {
    const start = columns[i] / blockSize * blockBytes;
    const last = pieces.at(-1);
    if (last && last[0] + last[1] === start) last[1] += blockBytes;
    else pieces.push([start, blockBytes]);
  }
  return pieces;
}

/** Moves the pieces of the rows that begin at `starts` to the front of `bytes`. */
function moveTogether(
  bytes: Uint8Array<ArrayBuffer>,
  starts: readonly number[],
  pieces: readonly Piece[],
): Uint8Array<ArrayBuffer> {
  let filled = 0;
  for (const row of starts) {
    for (const [start, length] of pieces) {
      bytes.copyWithin(filled, row + start, row + start + length);
      filled += length;
    }
  }
  return bytes.subarray(0, filled);
}
