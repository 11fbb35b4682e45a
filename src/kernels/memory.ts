/** One WASM memory and what lies in it. */
import { LimitError, MemoryError } from "../errors.ts";
import type { Kernels } from "../../wasm/kernels.d.ts";
import { roundUp } from "./packing.ts";

const pageBytes = 1 << 16;
/** A wasm32 memory holds 4 GiB. */
const limit = 2 ** 32;

/** An instance of the kernels, with a memory of its own. */
export function instantiate(module: WebAssembly.Module): Kernels {
  return new WebAssembly.Instance(module, {}).exports as unknown as Kernels;
}

/** Hands out a WASM memory's bytes from low to high. */
export class WasmMemory {
  /** The kernels, or what watches them. */
  kernels: Kernels;
  #top: number;
  #bytes!: Uint8Array;
  /** Views that were asked for, by where they begin */
  readonly #views = new Map<number, Float32Array>();

  /** Takes what lies above the module's own data. */
  constructor(readonly unwatched: Kernels) {
    this.kernels = unwatched;
    this.#top = unwatched.heap_base();
    this.#renewViews();
  }

  /** Has kernels called by way of what `watch` makes of them; without it, directly again. */
  watch(watch?: (kernels: Kernels) => Kernels): void {
    this.kernels = watch ? watch(this.unwatched) : this.unwatched;
  }

  /**
   * Gives `bytes` bytes, zero and aligned to a cache line.
   *
   * @throws {LimitError} where the memory would pass 4 GiB
   */
  allocate(bytes: number): number {
    const pointer = roundUp(this.#top, 64);
    const top = pointer + bytes;
    const { memory } = this.kernels;
    const missing = top - memory.buffer.byteLength;
    if (top > limit) {
      throw new LimitError(
        `Cannot hold the model's share in one memory: needs ${top} bytes, a WASM memory has ${limit}; use more threads`,
      );
    }
    if (missing > 0) {
      try {
        memory.grow(Math.ceil(missing / pageBytes));
        this.#renewViews();
      } catch {
        throw new MemoryError(
          `Cannot grow memory by ${missing} bytes to ${top}: the system refused`,
        );
      }
    }
    this.#top = top;
    return pointer;
  }

  /** Where the next bytes come from. */
  get top(): number {
    return this.#top;
  }

  /** Takes back what has been given since `top` was as it is here: it may not be used afterwards. */
  rewind(top: number): void {
    this.bytes.fill(0, top, this.#top);
    this.#top = top;
  }

  /** All bytes; valid until the next `allocate`. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /**
   * `length` numbers at `pointer`; valid until the next `allocate`. A step asks
   * for the same ones as the last: to make a view takes as long as to copy 500
   * numbers.
   */
  f32(pointer: number, length: number): Float32Array {
    const known = this.#views.get(pointer);
    if (known?.length === length) return known;
    const view = new Float32Array(this.#bytes.buffer, pointer, length);
    this.#views.set(pointer, view);
    return view;
  }

  /** `length` numbers at `pointer`; valid until the next `allocate`. */
  u32(pointer: number, length: number): Uint32Array {
    return new Uint32Array(this.#bytes.buffer, pointer, length);
  }

  /** Growing detaches all views. */
  #renewViews(): void {
    this.#bytes = new Uint8Array(this.unwatched.memory.buffer);
    this.#views.clear();
  }

  /** Sets `length` f32 numbers to zero. */
  clear(pointer: number, length: number): void {
    this.bytes.fill(0, pointer, pointer + 4 * length);
  }
}
