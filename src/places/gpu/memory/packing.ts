/**
 * How weights lie on the device. A row is cut into groups of 256 columns, the
 * last one filled up with zeros. Floats: a group has eight lanes, and of its
 * weights 32j to 32j + 31, lane i has the quad from 4i on, for each j of 8; so
 * eight invocations read 128 neighbouring bytes, and the quads of x that they
 * multiply are neighbours too. Integers: a group has eight units of 32 weights
 * that follow one another, as blocks of the file do, and an invocation reads the
 * 16 bytes of one, or twice as many in two planes. Scales lie in a plane behind
 * the row's quants. The bits are the file's; types without a layout of their own
 * go, as integers and scales, into one that holds them exactly. Nothing is
 * rounded anew.
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
  Q4_1: (groups) => 40 * groups,
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
    Q4_1: undefined,
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
      scales[k] = row.getUint16(34 * block, true);
      putBytes((i) => row.getUint32(34 * block + 2 + 4 * i, true), k, out, at);
    });
  },
  Q4_0: packNibbles,
  IQ4_NL: packNibbles,
  Q4_1(row, blocks, groups, out, at) {
    const scales = halvesFrom(out, at + 32 * groups);
    const minimums = halvesFrom(out, at + 36 * groups);
    blocks.forEach((block, k) => {
      scales[k] = row.getUint16(20 * block, true);
      minimums[k] = row.getUint16(20 * block + 2, true);
      putNibbles(row, 20 * block + 4, k, out, at);
    });
  },
  MXFP4(row, blocks, groups, out, at) {
    const scales = halvesFrom(out, at + 32 * groups);
    blocks.forEach((block, k) => {
      putNibbles(row, 17 * block + 1, k, out, at);
      const exponent = row.getUint8(17 * block);
      // The upper half of 2^(exponent - 128) as f32; two of these are subnormal.
      scales[k] = exponent < 2 ? 0x20 << exponent : (exponent - 1) << 7;
    });
  },
  IQ4_XS(row, blocks, groups, out, at) {
    const heads = new Int8Array(out.buffer, out.byteOffset + 4 * at);
    blocks.forEach((block, group) => {
      const first = 136 * block;
      const head = 32 * groups + 4 * group;
      out[at + head] = row.getUint16(first, true);
      const upper = row.getUint16(first + 2, true);
      for (let part = 0; part < 8; part++) {
        putNibbles(row, first + 8 + 16 * part, 8 * group + part, out, at);
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
        for (let part = 0; part < 4; part++) {
          putTwoUnits(
            word(4 + 8 * part + i),
            word(8 + 8 * part + i),
            at + 32 * group + 8 * part + i,
            4,
            out,
          );
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
        // Of 32 bytes, the low nibbles are of one unit, the high ones of the next but one.
        for (let part = 0; part < 4; part++) {
          putTwoUnits(
            word(8 * part + i),
            word(8 * part + 4 + i),
            at + 32 * group + 16 * (part >> 1) + 4 * (part & 1) + i,
            8,
            out,
          );
        }
      }
      for (let i = 0; i < 16; i++) {
        // Quad i & 7 of the four units of a half, two bits of each.
        const bits = word(32 + i), quad = i & 7;
        for (let part = 0; part < 4; part++) {
          const unit = 4 * (i >> 3) + part;
          out[at + 32 * groups + 16 * group + 2 * unit + (quad >> 2)] |=
            (bits >>> 2 * part & 0x03030303) << 2 * (quad & 3);
        }
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
  blocks.forEach((block, k) => {
    scales[k] = row.getUint16(18 * block, true);
    putNibbles(row, 18 * block + 2, k, out, at);
  });
}

/** Puts the 16 bytes of nibbles of unit k into a plane: the low ones are its first half, the high ones its second. */
function putNibbles(
  row: DataView,
  offset: number,
  k: number,
  out: Uint32Array,
  at: number,
): void {
  for (let i = 0; i < 4; i++) {
    out[at + 4 * k + i] = row.getUint32(offset + 4 * i, true);
  }
}

/** Puts a word of two units' nibbles, whose low ones are in the low nibbles of `first` and `second`, the other's in the high ones: `apart` words lie between the two. */
function putTwoUnits(
  first: number,
  second: number,
  to: number,
  apart: number,
  out: Uint32Array,
): void {
  out[to] = first & 0x0f0f0f0f | (second & 0x0f0f0f0f) << 4;
  out[to + apart] = first >>> 4 & 0x0f0f0f0f | second & 0xf0f0f0f0;
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
      for (let i = 0; i < 32; i++) {
        out[at + 4 * k + (i >> 2 & 3)] |= (q[i] + 8) <<
          (8 * (i & 3) + 4 * (i >> 4));
      }
    };
  },
  Q8_0(groups, out, at) {
    const scales = halvesFrom(out, at + 64 * groups);
    return ({ q, scale }, k) => {
      scales[k] = floatToHalf(scale[0]);
      putBytes(wordsOf(q), k, out, at);
    };
  },
  I8H(groups, out, at) {
    const scales = floatsFrom(out, at + 64 * groups);
    return ({ q, scale }, k) => {
      putBytes(wordsOf(q), k, out, at);
      scales.set(scale, 2 * k);
    };
  },
  I8HM(groups, out, at) {
    const scales = floatsFrom(out, at + 64 * groups);
    const mins = floatsFrom(out, at + 80 * groups);
    return ({ q, scale, min }, k) => {
      putBytes(wordsOf(q), k, out, at);
      scales.set(scale, 2 * k);
      mins.set(min, 2 * k);
    };
  },
};

/** Puts the eight words of unit k, bytes, into a plane: of each group the units' first halves, then their second ones. */
function putBytes(
  word: (i: number) => number,
  k: number,
  out: Uint32Array,
  at: number,
): void {
  const first = at + 64 * (k >> 3) + 4 * (k & 7);
  for (let i = 0; i < 4; i++) {
    out[first + i] = word(i);
    out[first + 32 + i] = word(4 + i);
  }
}

function wordsOf(q: Int8Array): (i: number) => number {
  const words = new Uint32Array(q.buffer, q.byteOffset, 8);
  return (i) => words[i];
}

/** The f32 numbers of a plane that begins at word `at`. */
function floatsFrom(words: Uint32Array, at: number): Float32Array {
  return new Float32Array(words.buffer, words.byteOffset + 4 * at);
}

/** The halves of a plane that begins at word `at`. */
function halvesFrom(words: Uint32Array, at: number): Uint16Array {
  return new Uint16Array(words.buffer, words.byteOffset + 4 * at);
}
