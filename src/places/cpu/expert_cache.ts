/**
 * The experts that are in memory where a budget does not hold all. One that a
 * token chose and that is not there is read from the file, to where one was
 * that is not needed.
 */
import type { LocalFiles } from "../../bytes/local_files.ts";
import { rowBytes } from "../../formats/ggml/types.ts";
import {
  indexAt,
  type IndexSet,
  lengthOf,
  sectionOf,
  spanOf,
} from "../../model/index_set.ts";
import { type LayerTensorName, tensorSchemas } from "../../model/schema.ts";
import {
  type LayerShards,
  type PlaceShards,
  rowOffset,
  type Shard,
} from "../../model/shard.ts";
import type { PackedMatrix } from "../../kernels/matrix.ts";
import type { ResidentExperts } from "../../plan/expert_budget.ts";
import type {
  Bank,
  Counters,
  CpuPlaceOptions,
  ExpertRoom,
  ExpertRows,
  ReadAhead,
} from "./options.ts";
import { Slots } from "./slots.ts";
import { expertAt, type LayerWeights } from "./weights.ts";

/** Bytes that are read at once, at most; a row at least. Of ranges that are read in several pieces the system takes the next ones too, and what lies behind. */
const readBytes = 2 << 20;

/** Rows of an expert that follow one another in a matrix and in the file. */
interface OwnRows {
  readonly matrix: PackedMatrix;
  readonly rows: IndexSet;
  readonly count: number;
  /** Where they begin in the file */
  readonly offset: number;
  /** Bytes of each */
  readonly stride: number;
}

/** The experts of one bank. */
export class ExpertCache implements ExpertRoom {
  /** By layer; each kind of rows comes and goes by itself, so that a prompt reads it once */
  readonly #slots: readonly (Record<ExpertRows, Slots> | undefined)[];
  readonly #staging: number;
  readonly #stagingBytes: number;

  constructor(
    readonly options: CpuPlaceOptions,
    readonly bank: Bank,
    readonly counters: Counters,
    /** Of all experts */
    readonly shards: PlaceShards,
    readonly files: LocalFiles,
    readonly ahead?: ReadAhead,
  ) {
    const { memory, weights: { layers } } = bank;
    this.#slots = layers.map((layer, i) => {
      const { experts } = options.plan.parts[i];
      const slots = ({ loaded, pinned }: ResidentExperts) =>
        new Slots(options.model.expertCount, loaded, pinned);
      return layer && experts && {
        values: slots(experts),
        down: slots(experts),
      };
    });
    const strides = layers.flatMap((layer, i) =>
      layer
        ? rowsOfExperts(layer, shards.layers[i]).map(({ shard }) =>
          stride(shard)
        )
        : []
    );
    this.#stagingBytes = Math.max(readBytes, ...strides);
    this.#staging = memory.allocate(this.#stagingBytes);
  }

  expect(layer: number, experts: readonly number[]): void {
    if (!this.ahead) return;
    this.ahead.forget();
    for (const rows of ["values", "down"] as const) {
      const missing = experts
        .filter((expert) => !this.#slots[layer]![rows].has(expert));
      for (const expert of missing) {
        for (const each of this.#rowsOf(rows, layer, expert)) {
          this.ahead.want(each.offset, each.count * each.stride);
        }
      }
    }
  }

  slot(
    rows: ExpertRows,
    layer: number,
    expert: number,
    kept: ReadonlySet<number>,
  ): number {
    const slots = this.#slots[layer]![rows];
    const found = slots.find(expert);
    if (found !== undefined) return found;
    const slot = slots.free(kept);
    this.#read(rows, layer, expert, slot);
    slots.put(expert, slot);
    return slot;
  }

  #read(rows: ExpertRows, layer: number, expert: number, slot: number): void {
    const { weights } = this.bank, { parts } = this.options.plan;
    const { layers } = this.counters;
    for (const own of this.#rowsOf(rows, layer, expert)) {
      this.#fill(own, slot);
      layers.add(layer, "fileBytes", own.count * own.stride);
    }
    if (rows === "down") return;
    const experts = weights.experts[layer] as LayerWeights[];
    const { experts: room, neurons } = parts[layer];
    const matrices = weights.layers[layer]!;
    experts[slot] = expertAt(matrices, room!.loaded.length, slot, expert);
    if (lengthOf(neurons) > 0 && indexAt(neurons, 0) === 0) {
      layers.add(layer, "missedExperts", 1);
    }
  }

  /** Rows of an expert, and where in the file they are. */
  #rowsOf(kind: ExpertRows, layer: number, expert: number): OwnRows[] {
    const matrices = this.bank.weights.layers[layer]!;
    return rowsOfExperts(matrices, this.shards.layers[layer])
      .filter(({ name }) => isDown(name) === (kind === "down"))
      .map(({ matrix, shard }) => {
        const count = lengthOf(shard.rows) / this.options.model.expertCount;
        const own = { start: expert * count, end: (expert + 1) * count };
        // Places hold neurons of an expert that follow one another; shared
        // experts, which may lie apart, are always in memory.
        const rows = sectionOf(shard.rows, own), { start } = spanOf(rows);
        const offset = rowOffset(shard.tensor, start);
        return { matrix, rows, count, offset, stride: stride(shard) };
      });
  }

  /** Reads rows to where those of a slot are. */
  #fill(
    { matrix, rows, count, offset, stride }: OwnRows,
    slot: number,
  ): void {
    const { memory } = this.bank, pointer = this.#staging;
    const room = matrix.holding(rows, slot * count);
    const step = Math.floor(this.#stagingBytes / stride);
    for (let first = 0; first < count; first += step) {
      const n = Math.min(step, count - first);
      const read = memory.bytes
        .subarray(pointer, pointer + n * stride) as Uint8Array<ArrayBuffer>;
      this.files.read(offset + first * stride, read);
      this.files.check();
      const staging = { pointer, bytes: this.#stagingBytes };
      room.write({ first, count: n, bytes: read }, staging);
    }
  }
}

/** The matrices of a layer of which each expert has rows. */
function rowsOfExperts(
  layer: LayerWeights,
  shards: LayerShards,
): { name: LayerTensorName; matrix: PackedMatrix; shard: Shard }[] {
  const entries = Object.entries(layer) as [LayerTensorName, PackedMatrix][];
  return entries.flatMap(([name, matrix]) => {
    const { perExpert, shape: [, rows] } = tensorSchemas[name];
    return perExpert && rows ? { name, matrix, shard: shards[name]! } : [];
  });
}

function isDown(name: LayerTensorName): boolean {
  return name === "ffn_down" || name === "ffn_down_t";
}

/** Bytes of a row in the file. */
function stride({ tensor }: Shard): number {
  return rowBytes(tensor.type, tensor.shape[0]);
}
