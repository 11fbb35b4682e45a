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
import { KvRows, type KvShape, type PageForm, type Side } from "../kv_rows.ts";

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
  /** Made when it is first needed */
  #rows?: KvRows;

  /** A cache for `kvHeads[layer]` heads in each layer. */
  constructor(
    readonly memory: WasmMemory,
    readonly shape: KvShape,
    kvHeads: readonly number[],
  ) {
    const { cacheType, headSize } = shape;
    this.typeId = cacheTypes.indexOf(cacheType);
    this.positionBytes = cpuPositionBytes(cacheType, headSize);
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

  /** The rows of its pages. */
  get rows(): KvRows {
    return this.#rows ??= new KvRows(this.shape, pageForm(this.shape));
  }

  /** The page of one layer and KV head. */
  page(page: number, layer: number, kvHead: number): Uint8Array {
    const start = this.address(page, layer, kvHead);
    return this.memory.bytes.subarray(start, start + this.#headBytes);
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

/** Where things lie in the page of a head, as `wasm/src/kv.rs` says it. */
function pageForm({ cacheType, headSize }: KvShape): PageForm {
  const sideBytes = pagePositions * cpuPositionBytes(cacheType, headSize) / 2;
  const padded = 8 * Math.ceil(headSize / 8);
  const blocks = Math.ceil(headSize / 32);
  /** Two steps of a column lie side by side. */
  const inPairs = (step: number, column: number) =>
    16 * (step >> 1) + 2 * column + step % 2;
  if (cacheType === "q8_0") {
    const start = (side: Side, position: number, block: number) =>
      side === 0
        ? (16 + 256) * ((position >> 3) * blocks + block)
        : sideBytes + (64 + 1024) * block;
    return {
      element(side, position, i) {
        const at = start(side, position, i >> 5), element = i % 32;
        return side === 0
          ? at + 16 + inPairs(element, position % 8)
          : at + 64 + inPairs(32 * (element >> 3) + position, element % 8);
      },
      scale(side, position, block) {
        // The scale of column L stands beside that of column L + 4.
        const column = position % 8;
        const place = side === 0 ? column % 4 * 2 + (column >> 2) : position;
        return start(side, position, block) + 2 * place;
      },
    };
  }
  const stepAndColumn = (side: Side, position: number, i: number) =>
    side === 0
      ? [padded * (position >> 3) + i, position % 8] as const
      : [pagePositions * (i >> 3) + position, i % 8] as const;
  if (cacheType === "f32") {
    return {
      element(side, position, i) {
        const [step, column] = stepAndColumn(side, position, i);
        return side * sideBytes + 4 * (8 * step + column);
      },
    };
  }
  return {
    element(side, position, i) {
      const [step, column] = stepAndColumn(side, position, i);
      const scales = 2 * pagePositions;
      return side * sideBytes + scales + 2 * inPairs(step, column);
    },
    scale: (side, position) => side * sideBytes + 2 * position,
  };
}
