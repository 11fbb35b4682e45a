/**
 * Which rows and columns of which tensors a place needs for its parts, and
 * their bytes, streamed from the file.
 *
 * @module
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { rowBytes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import type { LayerTensors, Model } from "../model/model.ts";
import { kvHeadsOf, type PlacePlan, type Range } from "../plan/plan.ts";

/** A block of a tensor that one place loads: whole rows, of which it keeps some columns. */
export interface Slice {
  readonly tensor: TensorInfo;
  /** Rows of the tensor, in the file's order */
  readonly rows: Range;
  /** Columns of the tensor that the place keeps */
  readonly columns: Range;
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
    rows: Range = { start: 0, end: tensor.shape[1] ?? 1 },
    columns: Range = { start: 0, end: tensor.shape[0] },
  ): Slice => ({ tensor, rows, columns });
  const optional = (tensor?: TensorInfo, rows?: Range, columns?: Range) =>
    tensor && slice(tensor, rows, columns);
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
        ffn_down: optional(
          layer.ffn_down,
          undefined,
          widened(neurons, model.feedForwardSize),
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

/** Bytes of the file that a slice is read from: whole rows. */
export function sliceBytes(slice: Slice): number {
  return (slice.rows.end - slice.rows.start) *
    rowBytes(slice.tensor.type, slice.tensor.shape[0]);
}

/** Some rows of a slice, as they stand in the file. */
export interface Rows {
  /** Index of the first row, counted from the slice's first */
  readonly first: number;
  readonly count: number;
  /** Whole rows of the tensor; their buffer may be larger */
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
  for (let row = rows.start; row < rows.end; row += step) {
    const count = Math.min(step, rows.end - row);
    const offset = tensor.offset + row * stride;
    const spare = spares.pop();
    const bytes = await source.read(offset, count * stride, spare);
    // Frees a spare of no use now: the collector would let hundreds of MB pile up.
    if (spare && spare !== bytes.buffer) spare.transfer(0);
    yield { first: row - rows.start, count, bytes };
  }
}

function widened(range: Range, limit: number): Range {
  if (range.start === range.end) return { start: 0, end: 0 };
  return {
    start: Math.floor(range.start / columnUnit) * columnUnit,
    end: Math.min(limit, Math.ceil(range.end / columnUnit) * columnUnit),
  };
}
