import {
  type LayerTensorName,
  mapLayer,
  type PerLayer,
  tensorSchemas,
} from "../../model/schema.ts";
import {
  type IndexSet,
  lengthOf,
  numbering,
  type Range,
} from "../../model/index_set.ts";
import type { Model } from "../../model/model.ts";
import { expertsOf, loadedNeurons, type Part } from "../../plan/plan.ts";
import type {
  LayerShards,
  PlaceShards,
  Rows,
  Shard,
} from "../../model/shard.ts";
import { joinedRooms } from "../../kernels/joined.ts";
import { PackedMatrix, type Room, type Staging } from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import { neuronsLieSideBySide } from "../../plan/hot_rows.ts";
import { interleavedRows } from "./interleaved_rows.ts";

/** Rows wait to be repacked where they stay in a core's second cache. */
export const stagingBytes = 128 << 10;

/** The matrices of one layer, by tensor. */
export type LayerWeights = PerLayer<PackedMatrix>;

/** What one bank holds of a place's shards. */
export interface BankShare {
  readonly layers: Range;
  /** Whether it holds embedding, output norm and output head */
  readonly head: boolean;
}

/** The matrices of one bank, in room made for them; the loader fills them. */
export class PackedWeights {
  /** By layer; layers of other banks are left out. */
  readonly layers: readonly (LayerWeights | undefined)[];
  /** By layer, what each of its experts has of these that are in memory, or that the place has: one, who has all, where there is no router */
  readonly experts: readonly (readonly LayerWeights[] | undefined)[];
  /** Embedding and output head; present where the bank has them. */
  readonly head?:
    & Readonly<
      Record<"token_embd" | "output" | "output_norm", PackedMatrix>
    >
    & { readonly output_norm_bias?: PackedMatrix };
  /** Divisors of the rotation's frequencies */
  readonly ropeFactors?: PackedMatrix;
  /** Bytes of all matrices. */
  readonly byteLength: number;
  readonly #matrices = new Map<Shard, PackedMatrix>();
  #staging: Staging = { pointer: 0, bytes: 0 };

  /** Makes room for a share of `shards`; rows of neurons go where `parts` say that they fire. */
  constructor(
    readonly memory: WasmMemory,
    model: Model,
    shards: PlaceShards,
    parts: readonly Part[],
    share: BankShare,
    /** Whether a predictor picks neurons: the three rows of each then lie side by side. */
    readonly picksNeurons: boolean,
    ropeFactors?: Shard,
  ) {
    this.layers = shards.layers.map((layer, i) =>
      i >= share.layers.start && i < share.layers.end
        ? this.#layer(layer, parts[i])
        : undefined
    );
    this.experts = this.layers.map((layer, i) =>
      layer &&
      (parts[i].resident ? [withAllRows(layer, parts[i])] : matricesOfExperts(
        layer,
        parts[i].experts?.loaded ??
          expertsOf(model, parts[i]).map((_, own) => own),
      ))
    );
    if (share.head) {
      this.head = {
        token_embd: this.#matrix(shards.token_embd),
        output: this.#matrix(shards.output),
        output_norm: this.#matrix(shards.output_norm),
        output_norm_bias: shards.output_norm_bias &&
          this.#matrix(shards.output_norm_bias),
      };
    }
    this.ropeFactors = ropeFactors && this.#matrix(ropeFactors);
    this.byteLength = [...this.#matrices.values()].reduce(
      (sum, { rows, rowBytes }) => sum + rows * rowBytes,
      0,
    );
  }

  /** Repacks rows of a shard, where it is one of this bank's. */
  write(shard: Shard, rows: Rows): void {
    const matrix = this.#matrices.get(shard);
    if (!matrix) return;
    const bytes = Math.max(stagingBytes, rows.bytes.length / rows.count);
    if (bytes > this.#staging.bytes) {
      this.#staging = { pointer: this.memory.allocate(bytes), bytes };
    }
    matrix.write(rows, this.#staging);
  }

  #layer(layer: LayerShards, part: Part): LayerWeights {
    const rowOrder = rowOrderOf(part);
    const loadedOrder = part.resident && rowOrderOf(part, loadedNeurons(part));
    const isInterleaved = this.picksNeurons && !part.resident &&
      neuronsLieSideBySide(mapLayer(layer, ({ tensor }) => tensor));
    const rooms: Partial<Record<LayerTensorName, Room>> = {
      ...this.#joined(layer, ["attn_q", "attn_k", "attn_v"]),
      ...isInterleaved
        ? interleavedRows(this.memory, layer)
        : this.#joined(layer, ["ffn_gate", "ffn_up"]),
    };
    return mapLayer(layer, (shard, name) => {
      const { shape, whole } = tensorSchemas[name];
      const hasNeurons = shape.at(-1) === "ffn" && !whole;
      const isPartial = part.resident?.matrices.includes(name);
      return this.#matrix(
        shard,
        hasNeurons ? isPartial ? loadedOrder : rowOrder : undefined,
        rooms[name],
      );
    });
  }

  /** Room for tensors of one input, those that there are. */
  #joined(
    layer: LayerShards,
    names: readonly LayerTensorName[],
  ): Partial<Record<LayerTensorName, Room>> {
    const present = names.filter((name) => layer[name]);
    const shards = present.map((name) => layer[name]!);
    const rooms = joinedRooms(this.memory, shards);
    return Object.fromEntries(present.map((name, i) => [name, rooms[i]]));
  }

  /** The matrix of a shard; embedding and head may be one. */
  #matrix(shard: Shard, rowOrder?: Uint32Array, room?: Room): PackedMatrix {
    const known = this.#matrices.get(shard);
    const matrix = known ??
      new PackedMatrix(this.memory, shard, rowOrder, room);
    this.#matrices.set(shard, matrix);
    return matrix;
  }
}

/** The matrices of some of the place's experts, by number, which lie one behind the other in those of the layer. */
function matricesOfExperts(
  layer: LayerWeights,
  experts: readonly number[],
): LayerWeights[] {
  if (!layer.ffn_gate_inp) return [layer];
  return experts.map((own, slot) => expertAt(layer, experts.length, slot, own));
}

/**
 * The matrices of one expert, where those of the layer have rows of `slots`
 * experts, its own being in number `slot`; biases, which all are there, number
 * `own`. Those of down, which all places have of all experts, are as they are.
 */
export function expertAt(
  layer: LayerWeights,
  slots: number,
  slot: number,
  own: number,
): LayerWeights {
  const neurons = layer.ffn_up.rows / slots;
  return mapLayer(layer, (matrix, name) => {
    const { perExpert, shape: [columns, rows] } = tensorSchemas[name];
    if (!perExpert || columns === "outputs") return matrix;
    const each = rows ? matrix.rows / slots : neurons;
    const number = rows ? slot : own;
    return matrix.section({ start: number * each, end: (number + 1) * each });
  });
}

/** A layer whose matrices stand for those of all neurons, where there is room for rows of some. */
function withAllRows(
  layer: LayerWeights,
  { neurons, resident }: Part,
): LayerWeights {
  return mapLayer(
    layer,
    (matrix, name) =>
      resident!.matrices.includes(name) ? matrix.holding(neurons, 0) : matrix,
  );
}

/** Where each neuron of a part, or each of some, is stored, where a profile orders them. */
function rowOrderOf(
  { neurons, firing }: Part,
  some: IndexSet = neurons,
): Uint32Array | undefined {
  if (!firing) return undefined;
  const numberOf = numbering(some), count = lengthOf(some);
  const rowOrder = new Uint32Array(count);
  firing.order.subarray(0, count).forEach((id, i) =>
    rowOrder[numberOf(id)] = i
  );
  return rowOrder;
}
