/**
 * A place's weights, packed in WASM memory.
 *
 * @module
 */
import type { LayerTensors } from "../../model/model.ts";
import type { LayerSlices, PlaceSlices, Rows, Slice } from "../slices.ts";
import { PackedMatrix } from "./matrix.ts";
import type { WasmMemory } from "./memory.ts";

/** The matrices of one layer, by tensor. */
export type LayerWeights = { readonly [K in keyof LayerTensors]: PackedMatrix };

/** Every matrix of one place, in room made for it; the loader fills it. */
export class PackedWeights {
  readonly layers: readonly LayerWeights[];
  readonly token_embd: PackedMatrix;
  readonly output: PackedMatrix;
  readonly output_norm: PackedMatrix;
  readonly rope_freqs?: PackedMatrix;
  /** Bytes of all matrices. */
  readonly byteLength: number;
  readonly #matrices = new Map<Slice, PackedMatrix>();
  readonly #memory: WasmMemory;
  #staging = { pointer: 0, bytes: 0 };

  /** Makes room for `slices`. */
  constructor(memory: WasmMemory, slices: PlaceSlices) {
    this.#memory = memory;
    const matrix = (slice: Slice): PackedMatrix => {
      const known = this.#matrices.get(slice);
      const made = known ?? new PackedMatrix(memory, slice);
      this.#matrices.set(slice, made);
      return made;
    };
    const layerOf = (layer: LayerSlices) =>
      Object.fromEntries(
        Object.entries(layer)
          .filter(([, slice]) => slice)
          .map(([name, slice]) => [name, matrix(slice)]),
      ) as LayerWeights;
    this.token_embd = matrix(slices.token_embd);
    this.layers = slices.layers.map(layerOf);
    this.output_norm = matrix(slices.output_norm);
    this.output = matrix(slices.output);
    this.rope_freqs = slices.rope_freqs && matrix(slices.rope_freqs);
    this.byteLength = [...this.#matrices.values()].reduce(
      (sum, { rows, rowBytes }) => sum + rows * rowBytes,
      0,
    );
  }

  /** Repacks rows of a slice that the constructor was given. */
  write(slice: Slice, rows: Rows): void {
    if (rows.bytes.length > this.#staging.bytes) {
      const bytes = rows.bytes.length;
      this.#staging = { pointer: this.#memory.allocate(bytes), bytes };
    }
    this.#matrices.get(slice)!.write(rows, this.#staging.pointer);
  }
}
