/**
 * A place's weights, packed in WASM memory.
 *
 * @module
 */
import type { LayerTensors } from "../../model/model.ts";
import { numbering, type Range } from "../../plan/indices.ts";
import type { Part } from "../../plan/plan.ts";
import type { LayerSlices, PlaceSlices, Rows, Slice } from "../slices.ts";
import { PackedMatrix, type Room, type Staging } from "./matrix.ts";
import type { WasmMemory } from "./memory.ts";
import { roomSideBySide } from "./side_by_side.ts";

/** Rows wait to be repacked where they stay in a core's second cache. */
export const stagingBytes = 128 << 10;

/** Embedding and output head. */
export interface HeadWeights {
  readonly token_embd: PackedMatrix;
  readonly output: PackedMatrix;
  readonly output_norm: PackedMatrix;
}

/** The matrices of one layer, by tensor. */
export type LayerWeights = { readonly [K in keyof LayerTensors]: PackedMatrix };

/** What one bank holds of a place's slices. */
export interface BankShare {
  readonly layers: Range;
  /** Whether it holds embedding, output norm and output head */
  readonly head: boolean;
}

/** The matrices of one bank, in room made for them; the loader fills them. */
export class PackedWeights {
  /** By layer; layers of other banks are left out. */
  readonly layers: readonly (LayerWeights | undefined)[];
  /** Present where the bank has the head. */
  readonly head?: HeadWeights;
  readonly rope_freqs?: PackedMatrix;
  /** Bytes of all matrices. */
  readonly byteLength: number;
  readonly #matrices = new Map<Slice, PackedMatrix>();
  readonly #memory: WasmMemory;
  readonly #picksNeurons: boolean;
  #staging: Staging = { pointer: 0, bytes: 0 };

  /** Makes room for a share of `slices`; rows of neurons go where `parts` say that they fire. */
  constructor(
    memory: WasmMemory,
    slices: PlaceSlices,
    parts: readonly Part[],
    share: BankShare,
    /** Whether a predictor picks neurons: the three rows of each then lie side by side. */
    picksNeurons: boolean,
  ) {
    this.#memory = memory;
    this.#picksNeurons = picksNeurons;
    this.layers = slices.layers.map((layer, i) =>
      i >= share.layers.start && i < share.layers.end
        ? this.#layer(layer, placesOf(parts[i]))
        : undefined
    );
    if (share.head) {
      this.head = {
        token_embd: this.#matrix(slices.token_embd),
        output: this.#matrix(slices.output),
        output_norm: this.#matrix(slices.output_norm),
      };
    }
    this.rope_freqs = slices.rope_freqs && this.#matrix(slices.rope_freqs);
    this.byteLength = [...this.#matrices.values()].reduce(
      (sum, { rows, rowBytes }) => sum + rows * rowBytes,
      0,
    );
  }

  /** Repacks rows of a slice, where it is one of this bank's. */
  write(slice: Slice, rows: Rows): void {
    const matrix = this.#matrices.get(slice);
    if (!matrix) return;
    const bytes = Math.max(stagingBytes, rows.bytes.length / rows.count);
    if (bytes > this.#staging.bytes) {
      this.#staging = { pointer: this.#memory.allocate(bytes), bytes };
    }
    matrix.write(rows, this.#staging);
  }

  #layer(layer: LayerSlices, places?: Uint32Array): LayerWeights {
    const matrices: Record<string, PackedMatrix> = {};
    const rooms = this.#picksNeurons ? roomSideBySide(this.#memory, layer) : {};
    for (const [name, slice] of Object.entries(layer)) {
      if (!slice) continue;
      const order = rowsAreNeurons.has(name) ? places : undefined;
      matrices[name] = this.#matrix(slice, order, rooms[name]);
    }
    return matrices as unknown as LayerWeights;
  }

  /** The matrix of a slice; embedding and head may be one. */
  #matrix(slice: Slice, places?: Uint32Array, room?: Room): PackedMatrix {
    const known = this.#matrices.get(slice);
    const matrix = known ?? new PackedMatrix(this.#memory, slice, places, room);
    this.#matrices.set(slice, matrix);
    return matrix;
  }
}

/** Tensors with a row for each neuron. */
const rowsAreNeurons = new Set(["ffn_gate", "ffn_up", "ffn_down_t", "fc2"]);

/** Where each neuron of a part is stored, where a profile orders them. */
function placesOf({ neurons, firing }: Part): Uint32Array | undefined {
  if (!firing) return undefined;
  const numberOf = numbering(neurons);
  const places = new Uint32Array(firing.order.length);
  firing.order.forEach((id, i) => places[numberOf(id)] = i);
  return places;
}
