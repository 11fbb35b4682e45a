/**
 * How weights lie on the device. A row is cut into groups of 256 columns, the
 * last one filled up with zeros, and a group into eight lanes: of its weights
 * 32j to 32j + 31, lane i has the quad from 4i on, for each j of 8. So eight
 * invocations read 128 neighbouring bytes of a plane, and the quads of x that
 * they multiply are neighbours too. Scales lie in a plane behind the row's
 * quants. The bits are the file's; types without a layout of their own go, as
 * integers and scales, into one that holds them exactly. Nothing is rounded anew.
 */
import {
  dequantise,
  type IntegerType,
  isIntegerType,
  readIntegers,
} from "../../../formats/ggml/dequantise.ts";
import { floatToHalf } from "../../../formats/ggml/half.ts";
import {
  type Integers,
  makeIntegers,
  type ReadIntegers,
} from "../../../formats/ggml/integers.ts";
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
  IQ4_NL: (groups) => 36 * groups,
  IQ4_XS: (groups) => 36 * groups,
  MXFP4: (groups) => 36 * groups,
  I8H: (groups) => 80 * groups,
  I8HM: (groups) => 96 * groups,
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

/** Layouts that hold the weights of other types exactly. */
type IntegerLayout = "Q4_0" | "Q8_0" | "I8H" | "I8HM";

/** Where the types go that kernels do not read as they are. */
const integerLayouts: Readonly<Record<IntegerType, IntegerLayout | undefined>> =
  {
    Q4_1: "I8HM",
    Q5_0: "Q8_0",
    Q5_1: "I8HM",
    Q2_K: "I8HM",
    Q3_K: "I8H",
    Q5_K: "I8HM",
    IQ4_NL: undefined,
    IQ4_XS: undefined,
    MXFP4: undefined,
    NVFP4: "I8H",
    TQ1_0: "Q4_0",
    TQ2_0: "Q4_0",
    Q1_0: "Q4_0",
    Q2_0: "Q4_0",
    IQ1_S: "I8H",
    IQ1_M: "I8H",
    IQ2_XXS: "I8H",
    IQ2_XS: "I8H",
    IQ2_S: "I8H",
    IQ3_XXS: "I8H",
    IQ3_S: "I8H",
  };

function integerLayout(type: GgmlType): IntegerLayout | undefined {
  return isIntegerType(type) ? integerLayouts[type] : undefined;
}

/**
 * The layout in which the columns `runs` of a tensor's rows are stored: that of
 * its type, or of integers, where there is one and the runs are whole blocks of
 * it; else F32.
 */
export function packedTypeOf(
  type: GgmlType,
  runs: readonly Range[],
): PackedType {
  const integers = integerLayout(type);
  const unit = integers ? 32 : ggmlTypes[type].blockSize;
  const isWhole = runs.every(({ start, end }) =>
    start % unit === 0 && end % unit === 0
  );
  const own = type in rowWordsOf ? type as PackedType : undefined;
  return isWhole ? integers ?? own ?? "F32" : "F32";
}

/** Rows as they are read, and what of them is kept. */
export interface KeptColumns {
  /** Weights of a row that is read */
  readonly length: number;
  /** What is kept of it, in the order in which it lies on the device */
  readonly runs: readonly Range[];
}

/** Rows of a type that go into a layout of integers. */
interface IntegerRows {
  readonly type: IntegerType;
  readonly layout: IntegerLayout;
  readonly room: Integers;
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
  /** The blocks kept, where they are not; of integers, which 32 weights of the row */
  readonly #blocks: readonly number[];
  /** How rows are read that go into a layout of integers */
  readonly #integers?: IntegerRows;

  constructor(readonly from: GgmlType, readonly kept: KeptColumns) {
    const { length, runs } = kept;
    this.type = packedTypeOf(from, runs);
    this.#groups = groupsOf(columnsOf(runs));
    this.rowWords = rowWordsOf[this.type](this.#groups);
    const isFloat = this.type === "F32" || this.type === "F16";
    this.#integers = this.type === integerLayout(from)
      ? { type: from as IntegerType, layout: this.type, room: makeIntegers() }
      : undefined;
    const unit = this.#integers ? 32 : ggmlTypes[from].blockSize;
    const isWidened = this.type === "F32" && from !== "F32";
    this.#floats = new Float32Array(isWidened ? length : 0);
    this.#kept = new Uint8Array(isFloat ? 4 * this.rowWords : 0);
    this.#blocks = isFloat ? [] : runs.flatMap(({ start, end }) =>
      Array.from(
        { length: (end - start) / unit },
        (_, i) => start / unit + i,
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
    } else if (this.#integers) {
      this.#packIntegers(this.#integers, row, out, at);
    } else {
      const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
      const pack = packBlocks[this.type as OwnLayout];
      pack(view, this.#blocks, this.#groups, out, at);
    }
  }

  #packIntegers(
    { type, layout, room }: IntegerRows,
    row: Uint8Array,
    out: Uint32Array,
    at: number,
  ): void {
    const { blockSize, blockBytes } = ggmlTypes[type];
    const read: ReadIntegers = readIntegers[type];
    const parts = blockSize / 32;
    const put = putIntegers[layout](this.#groups, out, at);
    this.#blocks.forEach((index, k) => {
      read(row, Math.floor(index / parts) * blockBytes, index % parts, room);
      put(room, k);
    });
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

/** Layouts of blocks of the file. */
type OwnLayout = Exclude<PackedType, "F32" | "F16" | "I8H" | "I8HM">;

const packBlocks: Readonly<Record<OwnLayout, PackBlocks>> = {
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
  Q4_0: packNibbles,
  IQ4_NL: packNibbles,
  MXFP4(row, blocks, groups, out, at) {
    const scales = halvesFrom(out, at + 32 * groups);
    putNibbles(row, blocks.map((block) => 17 * block + 1), out, at);
    blocks.forEach((block, k) => {
      const exponent = row.getUint8(17 * block);
      // The upper half of 2^(exponent - 128) as f32; two of these are subnormal.
      scales[k] = exponent < 2 ? 0x20 << exponent : (exponent - 1) << 7;
    });
  },
  IQ4_XS(row, blocks, groups, out, at) {
    const offsets = blocks.flatMap((block) =>
      Array.from({ length: 8 }, (_, part) => 136 * block + 8 + 16 * part)
    );
    putNibbles(row, offsets, out, at);
    const heads = new Int8Array(out.buffer, out.byteOffset + 4 * at);
    blocks.forEach((block, group) => {
      const first = 136 * block;
      const head = 32 * groups + 4 * group;
      out[at + head] = row.getUint16(first, true);
      const upper = row.getUint16(first + 2, true);
      for (let part = 0; part < 8; part++) {
        const lower = row.getUint8(first + 4 + (part >> 1)) >> 4 * (part & 1);
        const scale = lower & 15 | (upper >> 2 * part & 3) << 4;
        heads[4 * head + 4 + part] = scale - 32;
      }
    });
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

/** Blocks of 18 bytes: a half and 16 bytes of nibbles. */
function packNibbles(
  row: DataView,
  blocks: readonly number[],
  groups: number,
  out: Uint32Array,
  at: number,
): void {
  const scales = halvesFrom(out, at + 32 * groups);
  putNibbles(row, blocks.map((block) => 18 * block + 2), out, at);
  blocks.forEach((block, k) => scales[k] = row.getUint16(18 * block, true));
}

/**
 * Puts the 16 bytes of nibbles of each 32 weights into a plane. A word has a quad
 * of even ones in its low nibbles, one of the next in its high ones.
 */
function putNibbles(
  row: DataView,
  offsets: readonly number[],
  out: Uint32Array,
  at: number,
): void {
  for (let k = 0; k < offsets.length; k += 2) {
    const first = at + 32 * (k >> 3) + ((k & 7) >> 1);
    const hasOdd = k + 1 < offsets.length;
    for (let lane = 0; lane < 4; lane++) {
      const a = row.getUint32(offsets[k] + 4 * lane, true);
      const b = hasOdd ? row.getUint32(offsets[k + 1] + 4 * lane, true) : 0;
      const to = first + 4 * lane;
      out[to] = a & 0x0f0f0f0f | (b & 0x0f0f0f0f) << 4;
      out[to + 16] = a >>> 4 & 0x0f0f0f0f | b & 0xf0f0f0f0;
    }
  }
}

/** Puts 32 weights, number k of a row that begins at word `at`. */
type PutIntegers = (
  groups: number,
  out: Uint32Array,
  at: number,
) => (integers: Integers, k: number) => void;

const putIntegers: Readonly<Record<IntegerLayout, PutIntegers>> = {
  Q4_0(groups, out, at) {
    const scales = halvesFrom(out, at + 32 * groups);
    return ({ q, scale }, k) => {
      scales[k] = floatToHalf(scale[0]);
      const first = at + 32 * (k >> 3) + ((k & 7) >> 1), shift = 4 * (k & 1);
      for (let i = 0; i < 32; i++) {
        out[first + 4 * (i >> 2)] |= (q[i] + 8) << (8 * (i & 3) + shift);
      }
    };
  },
  Q8_0(groups, out, at) {
    const scales = halvesFrom(out, at + 64 * groups);
    return ({ q, scale }, k) => {
      scales[k] = floatToHalf(scale[0]);
      putBytes(q, k, out, at);
    };
  },
  I8H(groups, out, at) {
    const scales = floatsFrom(out, at + 64 * groups);
    return ({ q, scale }, k) => {
      putBytes(q, k, out, at);
      putHalves(scale, k, scales);
    };
  },
  I8HM(groups, out, at) {
    const scales = floatsFrom(out, at + 64 * groups);
    const mins = floatsFrom(out, at + 80 * groups);
    return ({ q, scale, min }, k) => {
      putBytes(q, k, out, at);
      putHalves(scale, k, scales);
      putHalves(min, k, mins);
    };
  },
};

/** Puts 32 bytes into a plane of them, as of Q8_0. */
function putBytes(
  q: Int8Array,
  k: number,
  out: Uint32Array,
  at: number,
): void {
  const words = new Uint32Array(q.buffer, q.byteOffset, 8), j = k & 7;
  const first = at + 64 * (k >> 3) + 32 * (j >> 2) + (j & 3);
  for (let lane = 0; lane < 8; lane++) out[first + 4 * lane] = words[lane];
}

/** Puts what belongs to the first 16 weights, and to the others, into a plane of 16 a group. */
function putHalves(
  [first, second]: Float64Array,
  k: number,
  plane: Float32Array,
): void {
  const to = 16 * (k >> 3) + (k & 7);
  plane[to] = first;
  plane[to + 8] = second;
}

/** The f32 numbers of a plane that begins at word `at`. */
function floatsFrom(words: Uint32Array, at: number): Float32Array {
  return new Float32Array(words.buffer, words.byteOffset + 4 * at);
}

/** The halves of a plane that begins at word `at`. */
function halvesFrom(words: Uint32Array, at: number): Uint16Array {
  return new Uint16Array(words.buffer, words.byteOffset + 4 * at);
}
