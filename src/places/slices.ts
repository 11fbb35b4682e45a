/**
 * Which rows and columns of which tensors a place needs for its parts, and
 * their bytes, streamed from the file.
 *
 * @module
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import type { LayerTensors, Model } from "../model/model.ts";
import {
  compact,
  indexAt,
  type IndexSet,
  isList,
  lengthOf,
  type Range,
} from "../plan/indices.ts";
import { kvHeadsOf, type PlacePlan } from "../plan/plan.ts";

/** Rows and columns of a tensor that one place loads. */
export interface Slice {
  readonly tensor: TensorInfo;
  /** Rows of the tensor, in the file's order */
  readonly rows: IndexSet;
  /** Columns of the tensor that the place keeps; a list is made of whole blocks of its type */
  readonly columns: IndexSet;
}

/** The slices of one layer, by tensor. */
export type LayerSlices = { readonly [K in keyof LayerTensors]: Slice };

/** All that one place loads. */
export interface PlaceSlices {
  readonly layers: readonly LayerSlices[];
  readonly token_embd: Slice;
  /** The same object as `token_embd` where the two are tied */
  readonly output: Slice;
  readonly output_norm: Slice;
  readonly rope_freqs?: Slice;
}

/**
 * Columns are cut where quantised activations have their blocks, so a range of
 * them is widened to multiples of this; what is not the place's own is
 * multiplied by zero.
 */
const columnUnit = 32;

/** What a place must load to hold its part of a plan. */
export function slicesOf(model: Model, plan: PlacePlan): PlaceSlices {
  const { headSize } = model;
  const slice = (
    tensor: TensorInfo,
    rows: IndexSet = { start: 0, end: tensor.shape[1] ?? 1 },
    columns: IndexSet = { start: 0, end: tensor.shape[0] },
  ): Slice => ({ tensor, rows, columns });
  const optional = (tensor?: TensorInfo, rows?: IndexSet) =>
    tensor && slice(tensor, rows);
  const scaled = (range: Range, by: number): Range => ({
    start: range.start * by,
    end: range.end * by,
  });

  const token_embd = slice(model.token_embd, plan.vocab);
  return {
    token_embd,
    output: model.output === model.token_embd
      ? token_embd
      : slice(model.output, plan.vocab),
    output_norm: slice(model.output_norm),
    rope_freqs: optional(model.rope_freqs),
    layers: model.layers.map((layer, i) => {
      const { heads, neurons } = plan.parts[i];
      const qRows = scaled(heads, headSize);
      const kvRows = scaled(kvHeadsOf(model, heads), headSize);
      return {
        attn_norm: slice(layer.attn_norm),
        attn_q: slice(layer.attn_q, qRows),
        attn_k: slice(layer.attn_k, kvRows),
        attn_v: slice(layer.attn_v, kvRows),
        attn_output: slice(
          layer.attn_output,
          undefined,
          widened(qRows, layer.attn_output.shape[0]),
        ),
        ffn_norm: slice(layer.ffn_norm),
        ffn_gate: slice(layer.ffn_gate, neurons),
        ffn_up: slice(layer.ffn_up, neurons),
        ffn_down: layer.ffn_down && slice(
          layer.ffn_down,
          undefined,
          neuronColumns(layer.ffn_down, neurons),
        ),
        ffn_down_t: optional(layer.ffn_down_t, neurons),
        fc1: optional(layer.fc1),
        fc2: optional(layer.fc2, neurons),
      };
    }),
  };
}

/** Every slice once. */
export function* allSlices(slices: PlaceSlices): Generator<Slice> {
  yield slices.token_embd;
  if (slices.output !== slices.token_embd) yield slices.output;
  yield slices.output_norm;
  if (slices.rope_freqs) yield slices.rope_freqs;
  for (const layer of slices.layers) {
    for (const slice of Object.values(layer)) if (slice) yield slice;
  }
}

/** Bytes of all rows that {@linkcode readRows} gives. */
export function sliceBytes(slice: Slice): number {
  return lengthOf(slice.rows) *
    rowBytes(slice.tensor.type, readColumns(slice).length);
}

/** What the rows that {@linkcode readRows} gives consist of. */
export interface ReadColumns {
  /** Their weights: all of the tensor's row, or those of a list of columns */
  readonly length: number;
  /** Where the slice's columns begin among them */
  readonly first: number;
}

/** What the rows of a slice consist of when they are read. */
export function readColumns({ tensor, columns }: Slice): ReadColumns {
  return isList(columns)
    ? { length: columns.length, first: 0 }
    : { length: tensor.shape[0], first: columns.start };
}

/** Some rows of a slice, as they stand in the file. */
export interface Rows {
  /** Number of the first row among the slice's */
  readonly first: number;
  readonly count: number;
  /** The rows, one behind the other ({@linkcode readColumns}); their buffer may be larger */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Reads a slice's rows, as many at a time as `chunkBytes` hold (one at least).
 * Takes a buffer to read into out of `spares`; the caller puts one back when it
 * is done with the rows in it.
 */
export async function* readRows(
  source: ByteSource,
  slice: Slice,
  spares: ArrayBuffer[] = [],
  chunkBytes = 4 << 20,
): AsyncGenerator<Rows> {
  const { tensor, rows } = slice;
  const stride = rowBytes(tensor.type, tensor.shape[0]);
  const step = Math.max(1, Math.floor(chunkBytes / stride));
  const pieces = columnPieces(slice);
  const count = lengthOf(rows);
  for (let first = 0; first < count;) {
    const row = indexAt(rows, first);
    let end = first + 1;
    while (end < count && indexAt(rows, end) < row + step) end++;
    const offset = tensor.offset + row * stride;
    const length = (indexAt(rows, end - 1) + 1 - row) * stride;
    const spare = spares.pop();
    const bytes = await source.read(offset, length, spare);
    // Frees a spare of no use now: the collector would let hundreds of MB pile up.
    if (spare && spare !== bytes.buffer) spare.transfer(0);
    const starts = Array.from(
      { length: end - first },
      (_, i) => (indexAt(rows, first + i) - row) * stride,
    );
    const kept = isList(rows) || isList(slice.columns)
      ? moveTogether(bytes, starts, pieces)
      : bytes;
    yield { first, count: end - first, bytes: kept };
    first = end;
  }
}

/** Bytes of a row that are kept: where they begin, and how many follow one another. */
type Piece = readonly [start: number, length: number];

function columnPieces({ tensor, columns }: Slice): Piece[] {
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

/** The columns of `ffn_down` that hold some neurons' weights. */
function neuronColumns(
  { type, shape: [count] }: TensorInfo,
  neurons: IndexSet,
): IndexSet {
  if (!isList(neurons)) return widened(neurons, count);
  const { blockSize } = ggmlTypes[type];
  const blocks = [
    ...new Set(neurons.map((id) => Math.floor(id / blockSize))),
  ];
  return compact(Uint32Array.from(
    { length: blocks.length * blockSize },
    (_, i) => blocks[Math.floor(i / blockSize)] * blockSize + i % blockSize,
  ));
}

function widened(range: Range, limit: number): Range {
  if (range.start === range.end) return { start: 0, end: 0 };
  return {
    start: Math.floor(range.start / columnUnit) * columnUnit,
    end: Math.min(limit, Math.ceil(range.end / columnUnit) * columnUnit),
  };
}
