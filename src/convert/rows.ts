/**
 * Matrices that are made row by row when they are read, so that no tensor need
 * be in memory as a whole: stored ones, and views that permute, turn or
 * requantise others.
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { type GgmlType, rowBytes } from "../formats/ggml/types.ts";
import { inlineQuantiser, type Quantiser } from "./quantiser.ts";

/** A tensor whose rows can be read in any order. */
export interface Rows {
  /** How its weights are stored. */
  readonly type: GgmlType;
  /** Sizes in ggml's order: `shape[0]` is the length of a row. */
  readonly shape: readonly number[];
  /**
   * The bytes of `count` rows from `first` on. The caller owns their buffer.
   *
   * @throws what its source throws, and `quantise`
   */
  read(first: number, count: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Rows of a tensor, all its dimensions but the first together. */
export function rowCount({ shape }: Pick<Rows, "shape">): number {
  return shape.slice(1).reduce((product, side) => product * side, 1);
}

/** Bytes of one row. */
export function strideOf(
  { type, shape }: Pick<Rows, "type" | "shape">,
): number {
  return rowBytes(type, shape[0]);
}

/** A tensor that lies in a source from `offset` on. */
export function stored(
  source: ByteSource,
  offset: number,
  type: GgmlType,
  shape: readonly number[],
): Rows {
  const stride = strideOf({ type, shape });
  return {
    type,
    shape,
    read: (first, count) =>
      source.read(offset + first * stride, count * stride),
  };
}

/**
 * A tensor that can only be had as a whole: fetched when a row is read, and
 * kept until the last one is.
 */
export function whole(
  type: GgmlType,
  shape: readonly number[],
  fetch: () => Promise<Uint8Array>,
): Rows {
  const stride = strideOf({ type, shape });
  let bytes: Promise<Uint8Array> | undefined;
  return {
    type,
    shape,
    read: async (first, count) => {
      bytes ??= fetch();
      const end = first + count;
      const part = (await bytes).slice(first * stride, end * stride);
      if (end === rowCount({ shape })) bytes = undefined;
      return part;
    },
  };
}

/** Tensors of one type and shape as one, with a side more: rows of one behind those of another. */
export function stacked(parts: readonly Rows[]): Rows {
  const [{ type, shape }] = parts;
  const each = rowCount({ shape }), stride = strideOf({ type, shape });
  return {
    type,
    shape: [...shape, parts.length],
    read: async (first, count) => {
      const bytes = new Uint8Array(count * stride);
      for (let done = 0; done < count;) {
        const part = Math.floor((first + done) / each);
        const from = first + done - part * each;
        const length = Math.min(count - done, each - from);
        bytes.set(await parts[part].read(from, length), done * stride);
        done += length;
      }
      return bytes;
    },
  };
}

/** The tensors that {@linkcode stacked} made one of. */
export function unstacked(rows: Rows): Rows[] {
  const { type, shape } = rows;
  const own = shape.slice(0, -1), each = rowCount({ shape: own });
  return Array.from({ length: shape.at(-1)! }, (_, part) => ({
    type,
    shape: own,
    read: (first, count) => rows.read(part * each + first, count),
  }));
}

/**
 * Rows of queries or keys for interleaved rotation. Hugging Face rotates
 * element i of a head together with element i + d/2, GGUF element 2i with
 * 2i + 1: row 2i + j of a head comes from its row i + j · d/2.
 *
 * @param heads How many heads the rows belong to.
 */
export function interleaved(rows: Rows, heads: number): Rows {
  const stride = strideOf(rows);
  const head = rowCount(rows) / heads;
  return {
    type: rows.type,
    shape: rows.shape,
    read: async (first, count) => {
      const start = Math.floor(first / head) * head;
      const end = Math.ceil((first + count) / head) * head;
      const bytes = await rows.read(start, end - start);
      const moved = new Uint8Array(count * stride);
      for (let i = 0; i < count; i++) {
        const row = first + i;
        const within = row % head;
        const from = row - within + (within >> 1) + (within & 1) * (head / 2) -
          start;
        moved.set(
          bytes.subarray(from * stride, (from + 1) * stride),
          i * stride,
        );
      }
      return moved;
    },
  };
}

/** A vector with a number added to each element. */
export function shifted(rows: Rows, offset: number): Rows {
  return asFloats(rows, (values) => {
    values.forEach((value, i) => values[i] = value + offset);
  });
}

/**
 * Weights as BitNet b1.58 (arXiv 2402.17764) means them: -1, 0 or 1, whichever
 * is nearest, times the mean size of all, for which all are read once before.
 */
export function ternary(rows: Rows): Rows {
  let meanSize: Promise<number> | undefined;
  return asFloats(rows, async (values) => {
    const size = Math.max(1e-5, await (meanSize ??= meanSizeOf(rows)));
    values.forEach((value, i) => {
      const nearest = Math.max(-1, Math.min(1, Math.round(value / size)));
      values[i] = nearest * size;
    });
  });
}

/** The mean of all weights' sizes. */
async function meanSizeOf(rows: Rows): Promise<number> {
  let sum = 0, count = 0;
  for await (const { buffer } of allRows(retyped(rows, "F32"))) {
    const weights = new Float32Array(buffer);
    for (const weight of weights) sum += Math.abs(weight);
    count += weights.length;
  }
  return sum / count;
}

/** The same weights as f32, changed by `change`. */
function asFloats(
  rows: Rows,
  change: (values: Float32Array) => void | Promise<void>,
): Rows {
  const { shape } = rows;
  return {
    type: "F32",
    shape,
    read: async (first, count) => {
      const bytes = await retyped(rows, "F32").read(first, count);
      await change(
        new Float32Array(bytes.buffer, bytes.byteOffset, count * shape[0]),
      );
      return bytes;
    },
  };
}

/** The same weights as another type, by way of f32. */
export function retyped(
  rows: Rows,
  to: GgmlType,
  quantiser: Quantiser = inlineQuantiser,
): Rows {
  const { type: from, shape } = rows;
  if (from === to) return rows;
  return {
    type: to,
    shape,
    read: async (first, count) => {
      const bytes = await rows.read(first, count);
      const weights = count * shape[0];
      return await quantiser.store({ bytes, from, to, count: weights });
    },
  };
}

/** Bytes that are read at a time where more would not be faster. */
const chunkBytes = 4 << 20;

/** Rows of about `chunkBytes`, at least one. */
export function rowsPerChunk(rows: Pick<Rows, "type" | "shape">): number {
  return Math.max(1, Math.floor(chunkBytes / strideOf(rows)));
}

/** All rows, first to last; while a chunk is used, the next `ahead` are read. */
export async function* allRows(
  rows: Rows,
  ahead = 1,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const count = rowCount(rows);
  // Of f32, which weights are on their way from one type to another.
  const step = rowsPerChunk({ type: "F32", shape: rows.shape });
  const chunks: Promise<Uint8Array<ArrayBuffer>>[] = [];
  let first = 0;
  const readAhead = () => {
    for (; chunks.length < ahead && first < count; first += step) {
      const chunk = rows.read(first, Math.min(step, count - first));
      // Whoever awaits it is told; a consumer that stops early is not.
      chunk.catch(() => {});
      chunks.push(chunk);
    }
  };
  for (readAhead(); chunks.length > 0;) {
    const chunk = await chunks.shift()!;
    readAhead();
    yield chunk;
  }
}
