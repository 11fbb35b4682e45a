/** Weights in types that culm reads and does not write, rounded to the nearest: good enough for a model that still talks. */
import { putScale } from "../../src/formats/ggml/random_blocks.ts";
import { fp4Table, iq4Table } from "../../src/formats/ggml/read_tables.ts";
import { ggmlTypes, rowBytes } from "../../src/formats/ggml/types.ts";

/** Types of blocks of 32 nibbles behind a scale. */
const tables = { IQ4_NL: iq4Table, MXFP4: fp4Table };

/** A type whose blocks {@linkcode nearestBlocks} makes. */
export type NearestType = keyof typeof tables;

/** Whether blocks of a type can be made. */
export function isNearestType(type: string): type is NearestType {
  return type in tables;
}

/** Stores weights, a whole number of blocks. */
export function nearestBlocks(
  type: NearestType,
  values: Float32Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(rowBytes(type, values.length));
  const { blockSize, blockBytes } = ggmlTypes[type];
  const table = tables[type];
  const largest = Math.max(...table.map(Math.abs));
  for (let block = 0; block * blockSize < values.length; block++) {
    const weights = values.subarray(blockSize * block, blockSize * (block + 1));
    const most = Math.max(...weights.map(Math.abs));
    const scale = type === "MXFP4"
      ? 2 ** Math.round(Math.log2(most / largest))
      : most / largest;
    putScale[type](bytes, blockBytes * block, scale);
    const nibbles = bytes.subarray(
      blockBytes * (block + 1) - 16,
      blockBytes * (block + 1),
    );
    weights.forEach((weight, i) => {
      let best = 0;
      table.forEach((value, n) => {
        const error = Math.abs(scale * value - weight);
        if (error < Math.abs(scale * table[best] - weight)) best = n;
      });
      nibbles[i & 15] |= best << 4 * (i >> 4);
    });
  }
  return bytes;
}
