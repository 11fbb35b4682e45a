import { quantise } from "../../formats/ggml/quantise.ts";
import {
  type GgmlType,
  ggmlTypes,
  rowBytes,
} from "../../formats/ggml/types.ts";
import type { TensorToWrite } from "../../formats/gguf/write.ts";
import type { Random } from "../../random.ts";
import { constantChannels, signalChannels } from "./options.ts";
import { gaussians } from "./random.ts";

/** Writes one quantised row of a matrix into bytes that are zero; rows are written first to last. */
export type FillRow = (row: number, target: Uint8Array) => void;

/** A row's weights on the constant channels, and on the signal's. */
export interface RowHead {
  /** Their sum; they are equal */
  readonly constant: number;
  /** `[signalChannels]` */
  readonly signal: Float32Array;
}

/** Rows are handed out in chunks of about this many bytes. */
const chunkBytes = 1 << 20;

/** A matrix whose rows are made when they are read; `begin` is called before the first. */
export function matrix(
  name: string,
  type: GgmlType,
  [columns, rows]: readonly [columns: number, rows: number],
  begin: () => FillRow,
): TensorToWrite {
  const stride = rowBytes(type, columns);
  const rowsPerChunk = Math.max(1, Math.floor(chunkBytes / stride));
  async function* data() {
    const fill = begin();
    for (let first = 0; first < rows; first += rowsPerChunk) {
      const count = Math.min(rowsPerChunk, rows - first);
      const chunk = new Uint8Array(count * stride);
      for (let i = 0; i < count; i++) {
        fill(first + i, chunk.subarray(i * stride, (i + 1) * stride));
      }
      yield chunk;
    }
  }
  return { name, type, shape: [columns, rows], data };
}

/** A vector of one value. */
export function vector(
  name: string,
  length: number,
  value: number,
): TensorToWrite {
  const data = quantise("F32", new Float32Array(length).fill(value));
  return { name, type: "F32", shape: [length], data };
}

/**
 * Puts a head, the constant and the signal, before rows of noise. Blocks that reach beyond it get noise of
 * their own.
 */
export function withHead(
  type: GgmlType,
  noise: FillRow,
  deviation: number,
  random: Random,
  headOf: (row: number) => RowHead,
): FillRow {
  const filled = constantChannels + signalChannels;
  const { blockSize } = ggmlTypes[type];
  const rest = Math.ceil(filled / blockSize) * blockSize - filled;
  const weights = new Float32Array(filled + rest);
  return (row, target) => {
    noise(row, target);
    const { constant, signal } = headOf(row);
    weights.fill(constant / constantChannels, 0, constantChannels);
    weights.set(signal, constantChannels);
    weights.set(gaussians(rest, deviation, random), filled);
    target.set(quantise(type, weights));
  };
}
