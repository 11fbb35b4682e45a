/**
 * Readers of the types whose weights come in small vectors, numbers of a grid:
 * the IQ1, IQ2 and IQ3 types of ggml. Blocks hold 256 weights under one f16
 * scale. The grids lie in `wasm/grids/` (`scripts/ggml_grids.py`), and are unpacked
 * when a tensor asks for them.
 */
import { iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs } from "./grids.ts";
import { halfAt } from "./dequantise_32.ts";
import {
  doubleWordAt,
  type Integers,
  type ReadIntegers,
  wordAt,
} from "./integers.ts";
import { halfToFloat } from "./half.ts";
import type { TypeGrid } from "./types.ts";

/** A grid: entry after entry, so many weights each. */
class Grid {
  #values?: Int8Array;

  /** `text` is base64 of 16 bits an entry, in which codes of equal width number `values`. */
  constructor(
    readonly width: number,
    readonly values: readonly number[],
    readonly text: string,
  ) {}

  /** Puts entry `index` into `q` from `first` on; weights whose bit is set in `signs` become negative. */
  put(index: number, signs: number, q: Int8Array, first: number): void {
    const grid = this.#values ??= this.#unpack();
    const { width } = this;
    for (let j = 0; j < width; j++) {
      const value = grid[width * index + j];
      q[first + j] = signs >> j & 1 ? -value : value;
    }
  }

  #unpack(): Int8Array {
    const bytes = atob(this.text);
    const bits = 16 / this.width, mask = (1 << bits) - 1;
    const grid = new Int8Array(bytes.length / 2 * this.width);
    for (let i = 0; i < grid.length; i++) {
      const at = i * bits;
      const code = bytes.charCodeAt(at >> 3) >> (at & 7) & mask;
      grid[i] = this.values[code];
    }
    return grid;
  }
}

const ones = [-1, 0, 1], twos = [8, 25, 43];
const grids = {
  iq1_s: new Grid(8, ones, iq1_s),
  iq2_xxs: new Grid(8, twos, iq2_xxs),
  iq2_xs: new Grid(8, twos, iq2_xs),
  iq2_s: new Grid(8, twos, iq2_s),
  iq3_xxs: new Grid(4, [4, 12, 20, 28, 36, 44, 52, 62], iq3_xxs),
  iq3_s: new Grid(4, [1, 3, 5, 7, 9, 11, 13, 15], iq3_s),
};

/** By type. */
export const readGrids: Readonly<Record<TypeGrid, ReadIntegers>> = {
  /**
   * Block: d f16, 32 lower bytes of indices, 8 words: four times 3 upper bits, 3
   * bits of scale, the sign of a shift by 1/8. Weight: d · (2 scale + 1) · (grid ± 1/8).
   */
  IQ1_S(bytes, offset, part, out) {
    const word = wordAt(bytes, offset + 34 + 2 * part);
    const scale = 2 * (word >> 12 & 7) + 1;
    out.scale.fill(halfAt(bytes, offset) * scale / 8);
    for (let l = 0; l < 4; l++) {
      const low = bytes[offset + 2 + 4 * part + l];
      const index = low | (word >> (3 * l) & 7) << 8;
      putShifted(index, word >> 15, out.q, 8 * l);
    }
  },
  /**
   * Block: 32 lower bytes of indices, 16 bytes of two nibbles: 3 upper bits, and
   * the sign of the shift; 4 words of four times 3 bits of scale below 4 bits of
   * d. Weight: as in IQ1_S.
   */
  IQ1_M(bytes, offset, part, out) {
    let bits = 0;
    for (let i = 0; i < 4; i++) {
      bits |= wordAt(bytes, offset + 48 + 2 * i) >> 12 << 4 * i;
    }
    const d = halfToFloat(bits);
    const scales = wordAt(bytes, offset + 48 + 2 * (part >> 1)) >>
      6 * (part & 1);
    for (let l = 0; l < 4; l++) {
      const half = l >> 1;
      out.scale[half] = d * (2 * (scales >> 3 * half & 7) + 1) / 8;
      const high = bytes[offset + 32 + 2 * part + half] >> 4 * (l & 1);
      const index = bytes[offset + 4 * part + l] | (high & 7) << 8;
      putShifted(index, high >> 3 & 1, out.q, 8 * l);
    }
  },
  /**
   * Block: d f16, 8 times 4 indices and a word of four times 7 signs below 4 bits
   * of scale. Weight: d · (scale + 1/2) / 4 · grid.
   */
  IQ2_XXS(bytes, offset, part, out) {
    const first = offset + 2 + 8 * part;
    const word = doubleWordAt(bytes, first + 4);
    out.scale.fill(halfAt(bytes, offset) * (2 * (word >>> 28) + 1) / 8);
    for (let l = 0; l < 4; l++) {
      const signs = eightSigns(word >> 7 * l & 127);
      grids.iq2_xxs.put(bytes[first + l], signs, out.q, 8 * l);
    }
  },
  /** Block: d f16, 32 words of 9 bits of index and 7 signs, 8 times two scales. Weight: as in IQ2_XXS. */
  IQ2_XS(bytes, offset, part, out) {
    readScales(bytes, offset, offset + 66 + part, out);
    for (let l = 0; l < 4; l++) {
      const word = wordAt(bytes, offset + 2 + 8 * part + 2 * l);
      grids.iq2_xs.put(word & 511, eightSigns(word >> 9), out.q, 8 * l);
    }
  },
  /**
   * Block: d f16, 32 lower bytes of indices, 32 bytes of signs, 8 times four upper
   * pairs of indices, 8 times two scales. Weight: as in IQ2_XXS.
   */
  IQ2_S(bytes, offset, part, out) {
    readScales(bytes, offset, offset + 74 + part, out);
    const high = bytes[offset + 66 + part];
    for (let l = 0; l < 4; l++) {
      const at = offset + 2 + 4 * part + l;
      const index = bytes[at] | (high >> 2 * l & 3) << 8;
      grids.iq2_s.put(index, bytes[at + 32], out.q, 8 * l);
    }
  },
  /**
   * Block: d f16, 64 indices, 8 words as in IQ2_XXS. Weight: d · (scale + 1/2) / 2 · grid.
   */
  IQ3_XXS(bytes, offset, part, out) {
    const word = doubleWordAt(bytes, offset + 66 + 4 * part);
    out.scale.fill(halfAt(bytes, offset) * (2 * (word >>> 28) + 1) / 4);
    for (let l = 0; l < 8; l++) {
      const signs = eightSigns(word >> 7 * (l >> 1) & 127) >> 4 * (l & 1);
      const index = bytes[offset + 2 + 8 * part + l];
      grids.iq3_xxs.put(index, signs, out.q, 4 * l);
    }
  },
  /**
   * Block: d f16, 64 lower bytes of indices, 8 times eight upper bits, 32 bytes of
   * signs, 4 times two scales. Weight: d · (2 scale + 1) · grid.
   */
  IQ3_S(bytes, offset, part, out) {
    const scale = bytes[offset + 106 + (part >> 1)] >> 4 * (part & 1) & 15;
    out.scale.fill(halfAt(bytes, offset) * (2 * scale + 1));
    const high = bytes[offset + 66 + part];
    for (let l = 0; l < 8; l++) {
      const index = bytes[offset + 2 + 8 * part + l] | (high >> l & 1) << 8;
      const signs = bytes[offset + 74 + 4 * part + (l >> 1)] >> 4 * (l & 1);
      grids.iq3_s.put(index, signs, out.q, 4 * l);
    }
  },
};

/** IQ1: 8 · grid + 1, or − 1 where `isNegative`; the scale has the 8th part. */
function putShifted(
  index: number,
  isNegative: number,
  q: Int8Array,
  first: number,
): void {
  grids.iq1_s.put(index, 0, q, first);
  const shift = isNegative ? -1 : 1;
  for (let j = first; j < first + 8; j++) q[j] = 8 * q[j] + shift;
}

/** IQ2: the scales of two halves in one byte. */
function readScales(
  bytes: Uint8Array,
  offset: number,
  at: number,
  { scale }: Integers,
): void {
  const d = halfAt(bytes, offset);
  scale[0] = d * (2 * (bytes[at] & 15) + 1) / 8;
  scale[1] = d * (2 * (bytes[at] >> 4) + 1) / 8;
}

/** Seven signs, and the eighth that makes their number even. */
function eightSigns(seven: number): number {
  const four = seven ^ seven >> 4;
  const parity = 0x6996 >> (four & 15) & 1;
  return seven | parity << 7;
}
