/**
 * Keys and values on the device, in pages of 32 positions: a buffer for each
 * layer, `[page][KV head]`. `shaders/kv_*.wgsl` say what is in the page of a head.
 */
import { type Batch, pagePositions } from "../../batch.ts";
import type { KvShape, PageForm } from "../../kv_rows.ts";
import type { Commands } from "../device/commands.ts";
import type { Region } from "../run/read_back.ts";
import type { Buffers } from "./buffers.ts";
import type { DeviceLayout } from "./layout.ts";

const usage = () =>
  GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;

interface Layer {
  /** Of all its heads */
  readonly pageBytes: number;
  buffer: GPUBuffer;
}

/** Room for one sequence at the start; grows with the pages that are requested. */
export class KvCache {
  readonly #layers: readonly (Layer | undefined)[];
  /** A page on its way: a buffer cannot be copied to itself. */
  readonly #page?: GPUBuffer;
  pages: number;

  constructor(
    readonly buffers: Buffers,
    readonly commands: Commands,
    { pageBytes, pages, bytes }: DeviceLayout,
  ) {
    this.pages = pages;
    this.#layers = pageBytes.map((bytes) =>
      bytes > 0
        ? { pageBytes: bytes, buffer: this.#make(pages * bytes) }
        : undefined
    );
    if (bytes.page > 0) {
      const { COPY_DST, COPY_SRC } = GPUBufferUsage;
      this.#page = buffers.make("a page", bytes.page, COPY_DST | COPY_SRC);
    }
  }

  /** The pages of a layer that has heads; another buffer after the cache has grown. */
  pagesOf(layer: number): GPUBuffer {
    return this.#layers[layer]!.buffer;
  }

  /** Where a page of a layer lies. */
  region(layer: number, page: number): Region {
    const { buffer, pageBytes } = this.#layers[layer]!;
    return { buffer, offset: page * pageBytes, bytes: pageBytes };
  }

  /**
   * Makes room for `count` pages, where the budget has room for them. Returns
   * whether there are new buffers.
   */
  grow(count: number): boolean {
    if (count <= this.pages) return false;
    const generous = Math.ceil(1.25 * this.pages);
    const pages = [Math.max(count, generous), count]
      .find((pages) => this.buffers.hasRoom(this.#bytesToGrowTo(pages)));
    if (pages === undefined) return false;
    for (const layer of this.#layers) {
      if (!layer) continue;
      const old = layer.buffer;
      layer.buffer = this.#make(pages * layer.pageBytes);
      this.commands.copy(old, 0, layer.buffer, 0, old.size);
      this.commands.submit();
      this.buffers.release(old);
    }
    this.pages = pages;
    return true;
  }

  /** Copies the pages that part. */
  copy({ copies, copyCount }: Batch): void {
    const { commands } = this;
    for (let i = 0; i < copyCount; i++) {
      for (const layer of this.#layers) {
        if (!layer) continue;
        const { buffer, pageBytes } = layer;
        const from = pageBytes * copies[2 * i];
        const to = pageBytes * copies[2 * i + 1];
        commands.copy(buffer, from, this.#page!, 0, pageBytes);
        commands.copy(this.#page!, 0, buffer, to, pageBytes);
      }
    }
  }

  /** Bytes that come on top while the cache grows: an old buffer goes when the new one is there. */
  #bytesToGrowTo(pages: number): number {
    const sizes = this.#layers.map((layer) => layer?.pageBytes ?? 0);
    const added = pages - this.pages;
    return sizes.reduce((sum, bytes) => sum + added * bytes, 0) +
      this.pages * Math.max(...sizes);
  }

  #make(bytes: number): GPUBuffer {
    return this.buffers.make("keys and values", bytes, usage());
  }
}

/** Where things lie in the page of a head, as `shaders/kv_*.wgsl` say it. */
export function pageForm({ cacheType, headSize }: KvShape): PageForm {
  const width = { f32: 4, f16: 2, q8_0: 1 }[cacheType];
  const unit = cacheType === "q8_0" ? 32 : 8;
  const quads = unit * Math.ceil(headSize / unit) / 4;
  return {
    element(side, position, i) {
      const quad = i >> 2;
      const at = side === 0
        ? pagePositions * quad + position
        : (pagePositions + position) * quads + quad;
      return width * (4 * at + i % 4);
    },
    scale: cacheType !== "q8_0"
      ? undefined
      : (side, position, block) =>
        4 * (2 * pagePositions * quads + position * quads / 8 + block) +
        2 * side,
  };
}
