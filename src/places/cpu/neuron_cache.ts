/**
 * The neurons whose rows are in memory where a budget does not hold all of a
 * layer's. A neuron has one slot for its rows of all matrices that are there in
 * part; each row comes when it is asked for, and goes with its neuron.
 */
import type { LocalFiles } from "../../bytes/local_files.ts";
import { rowBytes } from "../../formats/ggml/types.ts";
import {
  allocateRows,
  type F32Rows,
  type PackedMatrix,
  type ProductInput,
  rowAt,
} from "../../kernels/matrix.ts";
import { roundUp } from "../../kernels/packing.ts";
import { numbering } from "../../model/index_set.ts";
import type { LayerTensorName } from "../../model/schema.ts";
import { type PlaceShards, rowOffset } from "../../model/shard.ts";
import type { TensorInfo } from "../../formats/gguf/gguf_file.ts";
import { neuronsInOrder } from "../../plan/plan.ts";
import type { GroupRows } from "./group_rows.ts";
import type {
  Bank,
  Counters,
  CpuPlaceOptions,
  NeuronRoom,
  ReadAhead,
} from "./options.ts";
import { Slots } from "./slots.ts";

/** Bytes that are read at once, at most; a row at least. */
const readBytes = 1 << 20;
/** Bytes between two rows that are read along with them: a page, which the disk would give anyway. */
const gapBytes = 4096;

/** A matrix that is there in part. */
interface PartialMatrix {
  readonly matrix: PackedMatrix;
  readonly tensor: TensorInfo;
  /** Bytes of a row in the file */
  readonly stride: number;
  /** By slot, whether it has the row of its neuron */
  readonly isThere: Uint8Array;
}

/** A layer of which some neurons' rows are there. */
interface Layer {
  readonly index: number;
  readonly slots: Slots;
  /** Slots whose neurons may change */
  readonly room: number;
  /** By row as it is stored, the file's neuron and its number among the place's */
  readonly ids: Uint32Array;
  readonly numberOf: (id: number) => number;
  readonly matrices: readonly PartialMatrix[];
}

/** A row that is to be read. */
interface MissingRow {
  readonly from: PartialMatrix;
  readonly offset: number;
  readonly row: number;
  readonly slot: number;
}

/** Rows that are read together. */
interface Run {
  readonly offset: number;
  length: number;
  readonly rows: MissingRow[];
}

/** The neurons of one bank. */
export class NeuronCache implements NeuronRoom {
  readonly #layers = new Map<PackedMatrix, Layer>();
  /** By slot: results of products, or coefficients, `[tokens, slots]` */
  readonly #values: F32Rows;
  /** Slots that a kernel goes through */
  readonly #list: number;
  readonly #staging: number;
  readonly #stagingBytes: number;

  constructor(
    readonly options: CpuPlaceOptions,
    readonly bank: Bank,
    readonly counters: Counters,
    /** Of all neurons */
    readonly shards: PlaceShards,
    readonly files: LocalFiles,
    readonly ahead?: ReadAhead,
  ) {
    const { memory, weights } = bank, { plan, limits } = options;
    let most = 0, widest = 0;
    plan.parts.forEach((part, index) => {
      const { resident, neurons } = part;
      const layer = weights.experts[index]?.[0];
      if (!resident || !layer) return;
      const { loaded, pinned } = resident;
      const matrices = resident.matrices.map((name: LayerTensorName) => {
        const { tensor } = shards.layers[index][name]!;
        const stride = rowBytes(tensor.type, tensor.shape[0]);
        widest = Math.max(widest, stride);
        const isThere = new Uint8Array(loaded).fill(1);
        return { matrix: layer[name]!, tensor, stride, isThere };
      });
      const ids = neuronsInOrder(part);
      const first = (count: number) =>
        Array.from({ length: count }, (_, row) => row);
      const own: Layer = {
        index,
        slots: new Slots(ids.length, first(loaded), first(pinned)),
        room: loaded - pinned,
        ids,
        numberOf: numbering(neurons),
        matrices,
      };
      for (const { matrix } of matrices) this.#layers.set(matrix, own);
      most = Math.max(most, loaded);
    });
    this.#values = allocateRows(memory, most && limits.tokens, most);
    this.#list = memory.allocate(4 * roundUp(most, 8));
    this.#stagingBytes = most && Math.max(readBytes, widest);
    this.#staging = memory.allocate(this.#stagingBytes);
  }

  holds(matrix: PackedMatrix): boolean {
    return this.#layers.has(matrix);
  }

  multiply(
    matrix: PackedMatrix,
    x: ProductInput,
    rows: readonly Uint32Array[],
    out: F32Rows,
  ): number {
    const layer = this.#layers.get(matrix)!, { memory } = this.bank;
    const isAsked = new Uint8Array(layer.ids.length);
    for (const own of rows) for (const row of own) isAsked[row] = 1;
    const next = rows.map(() => 0);
    for (const { slots, end } of this.#inTurn(layer, matrix, isAsked)) {
      rows.forEach((own, t) => {
        const from = next[t];
        while (next[t] < own.length && own[next[t]] < end) next[t]++;
        const asked = own.subarray(from, next[t]);
        if (asked.length === 0) return;
        const list = memory.u32(this.#list, asked.length);
        list.set(asked.map((row) => slots[row]));
        list.sort();
        const values = rowAt(this.#values, t);
        this.#product(matrix, x, rows.length, t, asked.length, values);
        const results = memory.f32(values, this.#values.stride);
        const to = memory.f32(rowAt(out, t), layer.ids.length);
        for (const row of asked) to[row] = results[slots[row]];
      });
    }
    return rows.reduce((sum, { length }) => sum + length, 0);
  }

  /** values[slot] = row of a slot · x[t] for the `count` slots of the list. */
  #product(
    { kind, pointer, stride, columns }: PackedMatrix,
    x: ProductInput,
    tokens: number,
    t: number,
    count: number,
    values: number,
  ): void {
    const [input, inputStride] = x.input(kind, columns, tokens);
    this.bank.memory.kernels.matvec_rows(
      kind,
      pointer,
      stride,
      this.#list,
      count,
      columns,
      input + t * inputStride,
      values,
    );
  }

  addRows(
    matrix: PackedMatrix,
    { ordered, mergeCounts }: GroupRows,
    h: F32Rows,
    tokens: number,
  ): number {
    const layer = this.#layers.get(matrix)!;
    const { memory, sums } = this.bank, { length } = layer.ids;
    const isAsked = new Uint8Array(length);
    for (let t = 0; t < tokens; t++) {
      const values = memory.f32(rowAt(h, t), length);
      for (let row = 0; row < length; row++) {
        if (values[row] !== 0) isAsked[row] = 1;
      }
    }
    let depth = 0, read = 0;
    const slots = new Int32Array(length);
    const asked = ordered.map((own) => own.filter((row) => isAsked[row]));
    let fetched = 0;
    asked.forEach((_, group) => {
      if (group === fetched) {
        fetched = this.#groupsThatFit(layer, asked, group);
        this.#fetch(
          layer,
          matrix,
          asked.slice(group, fetched).flatMap((own) => [...own]),
          slots,
        );
      }
      const own = asked[group];
      const list = memory.u32(this.#list, own.length);
      list.set(own.map((row) => slots[row]));
      for (let t = 0; t < tokens; t++) {
        const from = memory.f32(rowAt(h, t), length);
        const to = memory.f32(rowAt(this.#values, t), this.#values.stride);
        for (const row of own) to[slots[row]] = from[row];
      }
      const rows = { order: this.#list, count: own.length };
      read += sums.addGroup(matrix, rows, this.#values, tokens, depth++);
      for (let i = 0; i < mergeCounts[group]; i++) sums.merge(--depth, tokens);
    });
    return read;
  }

  /** The end of the groups from one on whose rows have room together: one at least. */
  #groupsThatFit(
    { slots, room }: Layer,
    groups: readonly Uint32Array[],
    from: number,
  ): number {
    let end = from, taken = 0;
    for (; end < groups.length; end++) {
      for (const row of groups[end]) if (!slots.stays(row)) taken++;
      if (taken > room && end > from) break;
    }
    return end;
  }

  /** Has the rows that are asked for in memory, as many at a time as there is room for: where they are, and before which row they end. */
  *#inTurn(
    layer: Layer,
    matrix: PackedMatrix,
    isAsked: Uint8Array,
  ): Generator<{ slots: Int32Array; end: number }> {
    const slots = new Int32Array(isAsked.length);
    let rows: number[] = [], taken = 0;
    for (let row = 0; row < isAsked.length; row++) {
      if (!isAsked[row]) continue;
      const takes = layer.slots.stays(row) ? 0 : 1;
      if (taken + takes > layer.room) {
        this.#fetch(layer, matrix, rows, slots);
        yield { slots, end: row };
        rows = [];
        taken = 0;
      }
      rows.push(row);
      taken += takes;
    }
    this.#fetch(layer, matrix, rows, slots);
    yield { slots, end: isAsked.length };
  }

  /** Has some rows of a matrix in memory, for which there is room; writes in which slots. */
  #fetch(
    layer: Layer,
    matrix: PackedMatrix,
    rows: readonly number[],
    slots: Int32Array,
  ): void {
    const own = layer.matrices.find((each) => each.matrix === matrix)!;
    const missing: number[] = [];
    // Those that are there are the last to make room.
    for (const row of rows) {
      const slot = layer.slots.find(row);
      if (slot !== undefined) slots[row] = slot;
      if (slot === undefined || !own.isThere[slot]) missing.push(row);
    }
    const { layers } = this.counters;
    layers.add(layer.index, "askedRows", rows.length);
    layers.add(layer.index, "missedRows", missing.length);
    if (missing.length === 0) return;
    const wanted: MissingRow[] = [];
    for (const row of missing) {
      let slot = layer.slots.find(row);
      if (slot === undefined) {
        slot = layer.slots.free();
        for (const { isThere } of layer.matrices) isThere[slot] = 0;
        layer.slots.put(row, slot);
      }
      slots[row] = slot;
      wanted.push(...missingRows(layer, own, row, slot));
    }
    this.#read(layer, runsOf(wanted, this.#stagingBytes));
  }

  #read(layer: Layer, runs: readonly Run[]): void {
    const { ahead, files } = this, { memory } = this.bank;
    ahead?.forget();
    for (const { offset, length } of runs.slice(1)) ahead?.want(offset, length);
    for (const { offset, length, rows } of runs) {
      const pointer = this.#staging;
      const bytes = memory.bytes.subarray(pointer, pointer + length);
      files.read(offset, bytes);
      this.counters.layers.add(layer.index, "fileBytes", length);
      for (const { from, offset: at, row, slot } of rows) {
        const number = layer.numberOf(layer.ids[row]);
        from.matrix
          .writeTo(slot, number, pointer + at - offset, from.stride);
      }
    }
    files.check();
    for (const { rows } of runs) {
      for (const { from, slot } of rows) from.isThere[slot] = 1;
    }
  }
}

/** The rows whose values are at least so large. */
export function rowsAtLeast(values: Float32Array, least: number): Uint32Array {
  const rows = new Uint32Array(values.length);
  let count = 0;
  for (let row = 0; row < values.length; row++) {
    if (values[row] >= least) rows[count++] = row;
  }
  return rows.subarray(0, count);
}

/** The row of a neuron that is asked for, and the others that lie beside it in the file. */
function missingRows(
  { ids, matrices }: Layer,
  asked: PartialMatrix,
  row: number,
  slot: number,
): MissingRow[] {
  const offsetIn = ({ tensor }: PartialMatrix) => rowOffset(tensor, ids[row]);
  const near = matrices.length * asked.stride, offset = offsetIn(asked);
  return matrices
    .filter((from) => !from.isThere[slot])
    .map((from) => ({ from, offset: offsetIn(from), row, slot }))
    .filter(({ from, offset: other }) =>
      from === asked || Math.abs(other - offset) < near
    );
}

/** Rows that lie near one another in the file, together. */
function runsOf(rows: MissingRow[], most: number): Run[] {
  const runs: Run[] = [];
  for (const row of rows.sort((a, b) => a.offset - b.offset)) {
    const { offset, from: { stride } } = row, last = runs.at(-1);
    const end = offset + stride;
    const isNear = last && offset - (last.offset + last.length) <= gapBytes &&
      end - last.offset <= most;
    if (!isNear) runs.push({ offset, length: stride, rows: [row] });
    else {
      last.length = end - last.offset;
      last.rows.push(row);
    }
  }
  return runs;
}
