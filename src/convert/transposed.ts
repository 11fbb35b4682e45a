import { ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import { retyped, rowCount, type Rows, rowsPerChunk } from "./rows.ts";

/** Memory for the columns that are turned at a time, in bytes. */
const defaultLimit = 256 << 20;

/** Columns that are moved together, so that what is written stays in the nearest cache. */
const tile = 32;

/**
 * The transpose of a matrix `[columns, rows]`: `[rows, columns]`. Columns are
 * collected by passing over all rows; as many at a time as fit into `limit`
 * bytes, so that a matrix beyond that is read several times. Weights in blocks
 * are turned as f32.
 */
export function transposed(matrix: Rows, limit: number = defaultLimit): Rows {
  const isPlain = ggmlTypes[matrix.type].blockSize === 1;
  const rows = isPlain ? matrix : retyped(matrix, "F32");
  const [columns] = rows.shape;
  const height = rowCount(rows);
  const stride = rowBytes(rows.type, height);
  const width = Math.min(columns, Math.max(1, Math.floor(limit / stride)));
  let block: { start: number; bytes: Promise<Uint8Array> } | undefined;
  /** The block of columns that holds this one; the last one is kept. */
  const blockAt = (column: number) => {
    const start = Math.floor(column / width) * width;
    if (block?.start !== start) {
      // Let go of the old one first.
      block = undefined;
      const end = Math.min(columns, start + width);
      block = { start, bytes: collect(rows, start, end) };
    }
    return block;
  };
  return {
    type: rows.type,
    shape: [height, columns],
    read: async (first, count) => {
      const turned = new Uint8Array(count * stride);
      for (let done = 0; done < count;) {
        const { start, bytes } = blockAt(first + done);
        const from = first + done - start;
        const part = Math.min(count - done, width - from);
        turned.set(
          (await bytes).subarray(from * stride, (from + part) * stride),
          done * stride,
        );
        done += part;
      }
      // A file has many matrices: the last row read lets go of the block.
      if (first + count === columns) block = undefined;
      return turned;
    },
  };
}

/** Columns `start..end`, each as a row. */
async function collect(
  rows: Rows,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const [columns] = rows.shape;
  const height = rowCount(rows);
  const Words = rows.type === "F32" ? Uint32Array : Uint16Array;
  const turned = new Words((end - start) * height);
  const step = rowsPerChunk(rows);
  for (let first = 0; first < height; first += step) {
    const count = Math.min(step, height - first);
    const bytes = await rows.read(first, count);
    const words = new Words(bytes.buffer, bytes.byteOffset, count * columns);
    for (let left = start; left < end; left += tile) {
      const right = Math.min(left + tile, end);
      for (let row = 0; row < count; row++) {
        for (let column = left; column < right; column++) {
          turned[(column - start) * height + first + row] =
            words[row * columns + column];
        }
      }
    }
  }
  return new Uint8Array(turned.buffer);
}
