/**
 * Keys and values outside of their places, as a file keeps them: the same
 * whichever place has computed them. A layer's page is
 * `[position][KV head][key, value]`, each a row of a head's elements:
 *
 * - f32: the elements.
 * - f16: a scale, which is the upper half of an f32, and integers of 16 bits, as
 *   the CPU's kernels keep them; or ones in place of the scale, and halves, as
 *   GPUs do. A place that is given the other kind rounds it to its own.
 * - q8_0: ggml's blocks, 32 elements each or what is left of the head: a scale,
 *   which is a half, and a byte for each element.
 */
import {
  bfloat16ToFloat,
  floatToHalf,
  halfToFloat,
} from "../formats/ggml/half.ts";
import { lengthOf, noIndices, type Range } from "../model/index_set.ts";
import type { Model } from "../model/model.ts";
import { pagePositions } from "./batch.ts";
import type { CacheType } from "./cache_type.ts";

/** What decides how long rows are. */
export interface KvShape {
  readonly cacheType: CacheType;
  readonly headSize: number;
  readonly kvHeadCount: number;
}

/** Bytes of an element, and elements that share a scale. */
function formOf({ cacheType, headSize }: KvShape) {
  return {
    f32: { width: 4, block: headSize, scale: 0 },
    f16: { width: 2, block: headSize, scale: 2 },
    q8_0: { width: 1, block: 32, scale: 2 },
  }[cacheType];
}

/** Bytes of a key, and of a value. */
function rowBytes(shape: KvShape): number {
  const { width, block, scale } = formOf(shape);
  const { headSize } = shape;
  return width * headSize + scale * Math.ceil(headSize / block);
}

/** Bytes of a position in one layer: the keys and values of all its heads. */
export function kvLayerBytes(shape: KvShape): number {
  return 2 * shape.kvHeadCount * rowBytes(shape);
}

/**
 * The KV heads whose rows are read from the place of some query heads: another,
 * which has other query heads of the same group, may hold them too.
 */
export function kvHeadsReadOf(model: Model, heads: Range): Range {
  const group = model.headCount / model.kvHeadCount;
  return lengthOf(heads) === 0 ? noIndices : {
    start: Math.ceil(heads.start / group),
    end: Math.ceil(heads.end / group),
  };
}

/** A key or a value. */
export type Side = 0 | 1;

/** Where a place keeps things: offsets in bytes in the page of a head. */
export interface PageForm {
  element(side: Side, position: number, element: number): number;
  /** Where there is none, elements of f16 are halves. */
  scale?(side: Side, position: number, block: number): number;
}

/** Moves rows of a head out of a place's page and back. */
export class KvRows {
  readonly #shape: KvShape;
  readonly #rowBytes: number;
  /** Where each byte lies in the page, `[position][key, value][row]`; -1 = nowhere: it is 255 */
  readonly #at: Int32Array;
  readonly #isHalves: boolean;

  /** `page` says where things lie in the place's pages. */
  constructor(shape: KvShape, page: PageForm) {
    const { headSize } = shape, { width, block, scale } = formOf(shape);
    this.#shape = shape;
    this.#rowBytes = rowBytes(shape);
    this.#isHalves = shape.cacheType === "f16" && !page.scale;
    const at: number[] = [];
    const add = (start: number, bytes: number) => {
      for (let i = 0; i < bytes; i++) at.push(start < 0 ? -1 : start + i);
    };
    for (let row = 0; row < 2 * pagePositions; row++) {
      const side = row % 2 as Side, position = row >> 1;
      for (let i = 0; i < headSize; i++) {
        if (i % block === 0) {
          add(page.scale?.(side, position, i / block) ?? -1, scale);
        }
        add(page.element(side, position, i), width);
      }
    }
    this.#at = Int32Array.from(at);
  }

  /** Writes the rows of a head's page to those of its layer. */
  read(page: Uint8Array, kvHead: number, layer: Uint8Array): void {
    const at = this.#at;
    this.#eachRow(kvHead, layer, (row, first) => {
      for (let i = 0; i < row.length; i++) {
        const from = at[first + i];
        row[i] = from < 0 ? 255 : page[from];
      }
    });
  }

  /** Writes a layer's rows of one head to the page of that head. */
  write(page: Uint8Array, kvHead: number, layer: Uint8Array): void {
    const at = this.#at;
    this.#eachRow(kvHead, layer, (row, first, side) => {
      const own = this.#own(row, side);
      for (let i = 0; i < own.length; i++) {
        const to = at[first + i];
        if (to >= 0) page[to] = own[i];
      }
    });
  }

  #eachRow(
    kvHead: number,
    layer: Uint8Array,
    act: (row: Uint8Array, first: number, side: Side) => void,
  ): void {
    const { kvHeadCount } = this.#shape, bytes = this.#rowBytes;
    for (let row = 0; row < 2 * pagePositions; row++) {
      const side = row % 2 as Side;
      const start = ((row >> 1) * kvHeadCount + kvHead) * 2 + side;
      const end = bytes * (start + 1);
      act(layer.subarray(bytes * start, end), bytes * row, side);
    }
  }

  /** The row as the place's kind keeps it. */
  #own(row: Uint8Array, side: Side): Uint8Array {
    if (this.#shape.cacheType !== "f16") return row;
    const isHalves = row[0] === 255 && row[1] === 255;
    if (isHalves === this.#isHalves) return row;
    const words = new Int16Array(row.slice().buffer);
    return new Uint8Array(
      (isHalves ? toIntegers(words, side) : toHalves(words)).buffer,
    );
  }
}

/** A row of halves for one of a scale and integers. */
function toHalves(row: Int16Array): Int16Array {
  const scale = bfloat16ToFloat(row[0] & 0xffff);
  return row.map((word, i) => i === 0 ? -1 : floatToHalf(scale * word));
}

/** A row of a scale and integers for one of halves, such that none passes 32767 (`wasm/src/kv.rs`). */
function toIntegers(row: Int16Array, side: Side): Int16Array {
  const values = Array.from(
    row.subarray(1),
    (half) => halfToFloat(half & 0xffff),
  );
  const size = side === 0
    ? Math.hypot(...values)
    : Math.max(...values.map(Math.abs));
  const exact = new Uint32Array(Float32Array.of(size / 32767).buffer)[0];
  const bits = Math.min(0x7f7f, Math.ceil(exact / 2 ** 16));
  const scale = bfloat16ToFloat(bits);
  const inverse = scale < 1e-37 ? 0 : 1 / scale;
  return Int16Array.of(
    bits,
    ...values.map((value) => Math.round(value * inverse)),
  );
}
