/**
 * Keys and values of one place's heads, in pages of 32 positions. A page
 * holds those positions for every layer and KV head of the place:
 * `[layer][KV head][keys, values][position][headSize]`.
 *
 * @module
 */
import { pagePositions } from "../batch.ts";
import type { WasmMemory } from "./memory.ts";

/** How keys and values are stored. */
export type CacheType = "f16" | "f32";

/** Cache types by the number that the kernels know them by. */
const cacheTypes: Record<CacheType, { id: number; bytes: number }> = {
  f32: { id: 0, bytes: 4 },
  f16: { id: 1, bytes: 2 },
};

/** Bytes that one position of one KV head takes, key and value together. */
export function kvPositionBytes(type: CacheType, headSize: number): number {
  return 2 * headSize * cacheTypes[type].bytes;
}

/** Pages are made when a sequence first needs them, at the memory's end. */
export class KvCache {
  /** The number by which the kernels know the type. */
  readonly typeId: number;
  /** Bytes of one position of one head, key and value. */
  readonly positionBytes: number;
  readonly #rowBytes: number;
  readonly #headBytes: number;
  readonly #layerOffsets: number[] = [];
  readonly #pageBytes: number;
  readonly #pages: number[] = [];

  /** A cache for `kvHeads[layer]` heads in each layer. */
  constructor(
    readonly memory: WasmMemory,
    type: CacheType,
    kvHeads: readonly number[],
    headSize: number,
  ) {
    this.typeId = cacheTypes[type].id;
    this.positionBytes = kvPositionBytes(type, headSize);
    this.#rowBytes = this.positionBytes / 2;
    this.#headBytes = pagePositions * this.positionBytes;
    let offset = 0;
    for (const heads of kvHeads) {
      this.#layerOffsets.push(offset);
      offset += heads * this.#headBytes;
    }
    this.#pageBytes = offset;
  }

  /** Makes pages until there are `count`. */
  grow(count: number): void {
    while (this.#pages.length < count) {
      this.#pages.push(this.memory.allocate(this.#pageBytes));
    }
  }

  /** Copies a page of every layer and head. */
  copy(from: number, to: number): void {
    const start = this.#pages[from];
    this.memory.bytes.copyWithin(
      this.#pages[to],
      start,
      start + this.#pageBytes,
    );
  }

  /** Where the page of one layer and KV head begins. */
  address(page: number, layer: number, kvHead: number): number {
    return this.#pages[page] + this.#layerOffsets[layer] +
      kvHead * this.#headBytes;
  }

  /** Stores one position's key and value (f32 numbers at `key`, `value`) of one head. */
  store(
    page: number,
    layer: number,
    kvHead: number,
    position: number,
    headSize: number,
    key: number,
    value: number,
  ): void {
    const { kernels } = this.memory;
    const at = this.address(page, layer, kvHead) +
      position % pagePositions * this.#rowBytes;
    kernels.kv_store(this.typeId, key, headSize, at);
    kernels.kv_store(
      this.typeId,
      value,
      headSize,
      at + pagePositions * this.#rowBytes,
    );
  }
}
