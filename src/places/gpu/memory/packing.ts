/**
 * How weights lie on the device. A row is cut into groups of 256 columns, the
 * last one filled up with zeros, and a group into eight lanes: of its weights
 * 32j to 32j + 31, lane i has the quad from 4i on, for each j of 8. So eight
 * invocations read 128 neighbouring bytes of a plane, and the quads of x that
 * they multiply are neighbours too. Scales lie in a plane behind the row's
 * quants. The bits are the file's: nothing is rounded anew.
 */
import { dequantise } from "../../../formats/ggml/dequantise.ts";
import { type GgmlType, ggmlTypes } from "../../../formats/ggml/types.ts";
import { lengthOf, type Range } from "../../../model/index_set.ts";
import type { PackedType } from "../kernels/weights.ts";

const groupColumns = 256;

/** 32-bit words of a packed row of `groups` groups; always whole vectors of four. */
const rowWordsOf: Readonly<Record<PackedType, (groups: number) => number>> = {
  F32: (groups) => 256 * groups,
  F16: (groups) => 128 * groups,
  Q8_0: (groups) => 68 * groups,
  Q4_0: (groups) => 36 * groups,
  Q4_K: (groups) => 36 * groups,
  Q6_K: (groups) => 52 * groups + 4 * Math.ceil(groups / 8),
};

/** Groups of a row of `columns` weights. */
export function groupsOf(columns: number): number {
  return Math.ceil(columns / groupColumns);
}

/** `columns`, rounded up to whole groups. */
export function paddedTo256(columns: number): number {
  return groupColumns * groupsOf(columns);
}

export function packedRowBytes(type: PackedType, columns: number): number {
  return 4 * rowWordsOf[type](groupsOf(columns));
}

export function columnsOf(runs: readonly Range[]): number {
  return runs.reduce((sum, run) => sum + lengthOf(run), 0);
}

/**
 * The type in which the columns `runs` of a tensor's rows are stored: its own,
 * where there is a kernel for it and the runs are whole blocks.
 */
export function packedTypeOf(
  type: GgmlType,
  runs: readonly Range[],
): PackedType {
  const { blockSize } = ggmlTypes[type];
  const isWhole = runs.every(({ start, end }) =>
    start % blockSize === 0 && end % blockSize === 0
  );
  return type in rowWordsOf && isWhole ? type as PackedType : "F32";
}

/** Rows as they are read, and what of them is kept. */
export interface KeptColumns {
  /** Weights of a row that is read */
  readonly length: number;
  /** What is kept of it, in the order in which it lies on the device */
  readonly runs: readonly Range[];
}

export class RowPacker {
  /** What the rows become. */
  readonly type: PackedType;
  /** 32-bit words of a packed row. */
  readonly rowWords: number;
  readonly #groups: number;
  /** The row's weights as f32, where the type is not the file's */
  readonly #floats: Float32Array<ArrayBuffer>;
  /** The weights kept, as bytes of whole groups, where they are floats */
  readonly #kept: Uint8Array<ArrayBuffer>;
  /** The blocks kept, where they are not */
  readonly #blocks: readonly number[];

  constructor(readonly from: GgmlType, readonly kept: KeptColumns) {
    const { length, runs } = kept;
    this.type = packedTypeOf(from, runs);
    this.#groups = groupsOf(columnsOf(runs));
    this.rowWords = rowWordsOf[this.type](this.#groups);
    const isFloat = this.type === "F32" || this.type === "F16";
    const { blockSize } = ggmlTypes[from];
    this.#floats = new Float32Array(this.type === from ? 0 : length);
    this.#kept = new Uint8Array(isFloat ? 4 * this.rowWords : 0);
    this.#blocks = isFloat ? [] : runs.flatMap(({ start, end }) =>
      Array.from(
        { length: (end - start) / blockSize },
        (_, i) => start / blockSize + i,
      )
    );
  }

  /** Packs one row of the file into words of `out` from `at` on, which are zero. */
  pack(row: Uint8Array, out: Uint32Array, at: number): void {
    if (this.type === "F32") {
      this.#keep(this.#asFloats(row), 4);
      out.set(new Uint32Array(this.#kept.buffer), at);
    } else if (this.type === "F16") {
      this.#keep(row, 2);
      pairQuads(new Uint32Array(this.#kept.buffer), out, at);
    } else {
      const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
      packBlocks[this.type](view, this.#blocks, this.#groups, out, at);
    }
  }

  #asFloats(row: Uint8Array): Uint8Array {
    if (this.from === "F32") return row;
    dequantise(this.from, row, this.#floats);
    return new Uint8Array(this.#floats.buffer);
  }

  #keep(row: Uint8Array, weightBytes: number): void {
    let filled = 0;
    for (const { start, end } of this.kept.runs) {
      this.#kept.set(
        row.subarray(weightBytes * start, weightBytes * end),
        filled,
      );
      filled += weightBytes * (end - start);
    }
  }
}

/** F16: quads 2p and 2p + 1 of a lane, of two words each, become one vector. */
function pairQuads(halves: Uint32Array, out: Uint32Array, at: number): void {
  for (let quad = 0; quad < halves.length / 2; quad++) {
    const j = quad >> 3 & 7, lane = quad & 7;
    const vector = 32 * (quad >> 6) + 8 * (j >> 1) + lane;
    const first = at + 4 * vector + 2 * (j & 1);
    out[first] = halves[2 * quad];
    out[first + 1] = halves[2 * quad + 1];
  }
}

/** Packs the blocks of a row that are kept, in their order. */
type PackBlocks = (
  row: DataView,
  blocks: readonly number[],
  groups: number,
  out: Uint32Array,
  at: number,
) => void;

const packBlocks: Readonly<
  Record<Exclude<PackedType, "F32" | "F16">, PackBlocks>
> = {
  Q8_0(row, blocks, groups, out, at) {
    const scales = halvesFrom(out, at + 64 * groups);
    blocks.forEach((block, k) => {
      const offset = 34 * block, j = k & 7;
      const first = at + 64 * (k >> 3) + 32 * (j >> 2) + (j & 3);
      scales[k] = row.getUint16(offset, true);
      for (let lane = 0; lane < 8; lane++) {
        out[first + 4 * lane] = row.getUint32(offset + 2 + 4 * lane, true);
      }
    });
  },
  /** A word has a quad of an even block in its low nibbles, one of the next block in its high ones. */
  Q4_0(row, blocks, groups, out, at) {
    const scales = halvesFrom(out, at + 32 * groups);
    for (let k = 0; k < blocks.length; k += 2) {
      const even = 18 * blocks[k];
      const first = at + 32 * (k >> 3) + ((k & 7) >> 1);
      const hasOdd = k + 1 < blocks.length;
      const odd = hasOdd ? 18 * blocks[k + 1] : 0;
      scales[k] = row.getUint16(even, true);
      if (hasOdd) scales[k + 1] = row.getUint16(odd, true);
      for (let lane = 0; lane < 4; lane++) {
        const a = row.getUint32(even + 2 + 4 * lane, true);
        const b = hasOdd ? row.getUint32(odd + 2 + 4 * lane, true) : 0;
        const to = first + 4 * lane;
        out[to] = a & 0x0f0f0f0f | (b & 0x0f0f0f0f) << 4;
        out[to + 16] = a >>> 4 & 0x0f0f0f0f | b & 0xf0f0f0f0;
      }
    }
  },
  Q4_K(row, blocks, groups, out, at) {
    blocks.forEach((block, group) => {
      const word = (i: number) => row.getUint32(144 * block + 4 * i, true);
      for (let i = 0; i < 4; i++) {
        out[at + 32 * groups + 4 * group + i] = word(i);
        for (let lane = 0; lane < 8; lane++) {
          out[at + 32 * group + 4 * lane + i] = word(4 + 8 * i + lane);
        }
      }
    });
  },
  Q6_K(row, blocks, groups, out, at) {
    const scales = halvesFrom(out, at + 52 * groups);
    blocks.forEach((block, group) => {
      const word = (i: number) => row.getUint32(210 * block + 4 * i, true);
      scales[group] = row.getUint16(210 * block + 208, true);
      for (let i = 0; i < 4; i++) {
        out[at + 48 * groups + 4 * group + i] = word(48 + i);
        for (let lane = 0; lane < 8; lane++) {
          out[at + 32 * group + 4 * lane + i] = word(8 * i + lane);
        }
      }
      for (let i = 0; i < 16; i++) {
        const half = i >> 3, lane = i & 7;
        out[at + 32 * groups + 16 * group + 2 * lane + half] = word(32 + i);
      }
    });
  },
};

/** The halves of a plane that begins at word `at`. */
function halvesFrom(words: Uint32Array, at: number): Uint16Array {
  return new Uint16Array(words.buffer, words.byteOffset + 4 * at);
}
