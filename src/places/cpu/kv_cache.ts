/**
 * Keys and values of one place's heads, in pages of 32 positions. Memory comes
 * in chunks of pages, `[layer][KV head][page]`, so that what attention reads of
 * one head after another lies in sequence. `wasm/src/kv.rs` says what is in
 * the page of a head.
 */
import { LimitError } from "../../errors.ts";
import { pagePositions } from "../batch.ts";
import { type CacheType, cacheTypes, kvPositionBytes } from "../cache_type.ts";
import type { WasmMemory } from "../../kernels/memory.ts";

/**
 * Bytes that the CPU's kernels keep of one position of one KV head, key and
 * value together: those of its elements, in f16 a scale for each of both.
 */
export function cpuPositionBytes(type: CacheType, headSize: number): number {
  return kvPositionBytes(type, headSize) + (type === "f16" ? 4 : 0);
}

/** Pages of a chunk, at most. */
const chunkPages = 16;

/** Pages whose memory came at once. */
interface Chunk {
  readonly pointer: number;
  /** Number of the first page */
  readonly first: number;
  readonly pages: number;
}

/** Pages are made when a sequence first needs them, at the memory's end. */
export class KvCache {
  /** The number by which the kernels know the type. */
  readonly typeId: number;
  /** Bytes of one position of one head, key and value. */
  readonly positionBytes: number;
  /** Bytes of one page of one head. */
  readonly #headBytes: number;
  /** Heads of the layers before each. */
  readonly #headsBefore: number[] = [];
  readonly #heads: number;
  /** The chunk of each page. */
  readonly #chunkOf: Chunk[] = [];

  /** A cache for `kvHeads[layer]` heads in each layer. */
  constructor(
    readonly memory: WasmMemory,
    type: CacheType,
    kvHeads: readonly number[],
    headSize: number,
  ) {
    this.typeId = cacheTypes.indexOf(type);
    this.positionBytes = cpuPositionBytes(type, headSize);
    this.#headBytes = pagePositions * this.positionBytes;
    let heads = 0;
    for (const count of kvHeads) {
      this.#headsBefore.push(heads);
      heads += count;
    }
    this.#heads = heads;
  }

  /** Makes pages until there are `count`, as far as memory has room. Gives how many there are. */
  reserve(count: number): number {
    try {
      this.grow(count);
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
    }
    return this.#chunkOf.length;
  }

  /**
   * Makes pages until there are `count`, in chunks that double what is there:
   * a short text takes little.
   *
   * @throws {LimitError} where memory has no room
   */
  grow(count: number): void {
    for (;;) {
      const first = this.#chunkOf.length;
      if (first >= count) return;
      const pages = Math.min(chunkPages, Math.max(first, count - first));
      const pointer = this.memory.allocate(
        pages * this.#heads * this.#headBytes,
      );
      const chunk = { pointer, first, pages };
      for (let i = 0; i < pages; i++) this.#chunkOf.push(chunk);
    }
  }

  /** Copies a page of every layer and head. */
  copy(from: number, to: number): void {
    const { bytes } = this.memory;
    for (let head = 0; head < this.#heads; head++) {
      const start = this.#at(from, head);
      bytes.copyWithin(this.#at(to, head), start, start + this.#headBytes);
    }
  }

  /** Where the page of one layer and KV head begins. */
  address(page: number, layer: number, kvHead: number): number {
    return this.#at(page, this.#headsBefore[layer] + kvHead);
  }

  #at(page: number, head: number): number {
    const { pointer, first, pages } = this.#chunkOf[page];
    return pointer + (head * pages + page - first) * this.#headBytes;
  }
}
