/** Packed matrices in WASM memory, and the activations they are multiplied with. */
import { ggmlTypes } from "../formats/ggml/types.ts";
import {
  type IndexSet,
  lengthOf,
  type Range,
  sectionOf,
  spanOf,
} from "../model/index_set.ts";
import {
  notFinite,
  readColumns,
  type Rows,
  type Shard,
} from "../model/shard.ts";
import type { WasmMemory } from "./memory.ts";
import { kindOf, packedKind, packedRowBytes, roundUp } from "./packing.ts";
import { FrameChoice } from "./stack_frames.ts";

/** Room in WASM memory for rows of the file. */
export interface Staging {
  readonly pointer: number;
  readonly bytes: number;
}

/** Bytes of rows of a panel, which stays in L2 while one token after another picks its own. */
const panelBytes = 512 << 10;

/** f32 rows in WASM memory, `[tokens, stride]`. */
export interface F32Rows {
  readonly pointer: number;
  /** Floats from one row to the next */
  readonly stride: number;
}

/** Where the row of a token begins. */
export function rowAt(rows: F32Rows, t: number): number {
  return rows.pointer + 4 * t * rows.stride;
}

/** Makes room for `tokens` rows of `width` f32 numbers, padded to multiples of 8 with zeros. */
export function allocateRows(
  memory: WasmMemory,
  tokens: number,
  width: number,
): F32Rows {
  const stride = roundUp(width, 8);
  return { pointer: memory.allocate(4 * tokens * stride), stride };
}

/** What a matrix is multiplied with. */
export interface ProductInput {
  /** What a kernel of `kind` reads: where, and bytes from row to row. */
  input(kind: number, columns: number, tokens: number): [number, number];
}

/**
 * The input of a product: f32 rows, and the same quantised to 8 bits for the
 * kernels of quantised weights. Quantised once, however many matrices read it.
 */
export class Activations implements F32Rows, ProductInput {
  readonly pointer: number;
  readonly stride: number;
  readonly #quantised: Room;
  /** Whether the quantised rows are up to date */
  #isReady = false;

  /** Room for `tokens` rows of at most `width` numbers. */
  constructor(
    readonly memory: WasmMemory,
    readonly tokens: number,
    width: number,
  ) {
    const rows = allocateRows(memory, tokens, width);
    this.pointer = rows.pointer;
    this.stride = rows.stride;
    const stride = memory.kernels.activation_row_bytes(width);
    this.#quantised = { pointer: memory.allocate(tokens * stride), stride };
  }

  /** Whether it has no room at all. */
  get isEmpty(): boolean {
    return this.tokens === 0;
  }

  /** Call after writing the f32 rows. */
  changed(): void {
    this.#isReady = false;
  }

  /** The rows from number `first` on, of `count`. */
  rowsFrom(first: number, count: number): ProductInput {
    return {
      input: (kind, columns) => {
        const [pointer, stride] = this.input(kind, columns, count);
        return [pointer + first * stride, stride];
      },
    };
  }

  input(kind: number, columns: number, tokens: number): [number, number] {
    if (kind === packedKind.f32 || kind === packedKind.f16) {
      return [this.pointer, 4 * this.stride];
    }
    const { pointer, stride } = this.#quantised;
    if (!this.#isReady) {
      this.memory.kernels.quantise_activations(
        this.pointer,
        this.stride,
        tokens,
        columns,
        pointer,
        stride,
      );
      this.#isReady = true;
    }
    return [pointer, stride];
  }
}

/** Where rows lie. */
export interface Room {
  readonly pointer: number;
  /** Bytes from one row to the next */
  readonly stride: number;
  /** How they are packed; as the tensor's type is, where left out */
  readonly kind?: number;
}

/** A shard of a tensor, packed. */
export class PackedMatrix implements Room {
  readonly rows: number;
  readonly columns: number;
  readonly kind: number;
  /** Bytes of a row */
  readonly rowBytes: number;
  readonly pointer: number;
  readonly stride: number;
  #rangeFrames = new FrameChoice();
  #rowsFrames = new FrameChoice();

  /**
   * Makes room for the shard, or takes what is given; {@linkcode write} fills
   * it. With `rowOrder`, row i of the shard is stored as row `rowOrder[i]`, and
   * element i of a vector as element `rowOrder[i]`.
   */
  constructor(
    readonly memory: WasmMemory,
    readonly shard: Shard,
    readonly rowOrder?: Uint32Array,
    room?: Room,
  ) {
    this.rows = lengthOf(shard.rows);
    this.columns = lengthOf(shard.columns);
    this.kind = room?.kind ?? kindOf(shard);
    this.rowBytes = packedRowBytes(this.kind, this.columns);
    this.stride = room?.stride ?? this.rowBytes;
    this.pointer = room?.pointer ??
      memory.allocate(this.rows * this.rowBytes);
  }

  /** Some rows as a matrix, where they lie; of a vector, some elements. */
  section(range: Range): PackedMatrix {
    const { shard } = this;
    const sides = this.#isVector
      ? { columns: sectionOf(shard.columns, range) }
      : { rows: sectionOf(shard.rows, range) };
    const pointer = this.#isVector
      ? this.pointer + 4 * range.start
      : this.row(range.start);
    return this.#part({ ...shard, ...sides }, pointer);
  }

  /** Other rows of the tensor, in the room of those from number `first` on. */
  holding(rows: IndexSet, first: number): PackedMatrix {
    return this.#part({ ...this.shard, rows }, this.row(first));
  }

  #part(shard: Shard, pointer: number): PackedMatrix {
    const { memory, stride, kind } = this;
    const room = { pointer, stride, kind };
    const part = new PackedMatrix(memory, shard, undefined, room);
    part.#rangeFrames = this.#rangeFrames;
    part.#rowsFrames = this.#rowsFrames;
    return part;
  }

  /** Where a row begins. */
  row(index: number): number {
    return this.pointer + index * this.stride;
  }

  /**
   * Repacks rows of the file, as many at a time as `staging` holds: at least one.
   *
   * @throws {FormatError} where a weight is infinite or NaN
   */
  write({ first, count, bytes }: Rows, staging: Staging): void {
    const stride = bytes.length / count;
    const step = Math.floor(staging.bytes / stride);
    for (let i = 0; i < count; i += step) {
      const n = Math.min(step, count - i);
      const staged = bytes.subarray(i * stride, (i + n) * stride);
      const isThere = staged.buffer === this.memory.bytes.buffer &&
        staged.byteOffset === staging.pointer;
      if (!isThere) this.memory.bytes.set(staged, staging.pointer);
      this.#repackStaged(staging.pointer, stride, n, first + i);
    }
    if (this.#isVector && this.rowOrder) this.#moveElements(this.rowOrder);
  }

  /** Repacks row `first` of the file, which stands at `source`, to the room of another. */
  writeTo(to: number, first: number, source: number, bytes: number): void {
    this.#repack(source, bytes, 1, first, to);
  }

  /** Adds the vector to the first of each row's numbers. */
  addTo({ pointer, stride }: F32Rows, tokens: number): void {
    for (let t = 0; t < tokens; t++) {
      const row = pointer + 4 * t * stride;
      this.memory.kernels.add(row, this.pointer, this.columns);
    }
  }

  /** out[t] = matrix · x[t]; returns the bytes of weights read. */
  multiply(x: ProductInput, tokens: number, out: F32Rows): number {
    return this.multiplyRange(x, tokens, 0, this.rows, out);
  }

  /**
   * The same for the first `count` rows, where `asked`, of the shape and stride
   * of `out`, is at least `least`; other results are left alone. Returns how
   * many were computed.
   */
  multiplyWhere(
    x: ProductInput,
    tokens: number,
    asked: F32Rows,
    least: number,
    out: F32Rows,
    count = this.rows,
  ): number {
    const { kind, stride, columns } = this;
    const [input, inputStride] = x.input(kind, columns, tokens);
    return this.memory.kernels.matmul_where(
      kind,
      this.pointer,
      stride,
      count,
      columns,
      input,
      inputStride,
      tokens,
      asked.pointer,
      least,
      out.pointer,
      out.stride,
    );
  }

  /** The same for `count` rows from `first` on: out[t][i] = row first + i · x[t]. */
  multiplyRange(
    x: ProductInput,
    tokens: number,
    first: number,
    count: number,
    out: F32Rows,
  ): number {
    const { kind, stride, columns } = this;
    const [input, inputStride] = x.input(kind, columns, tokens);
    const { matmul, matmul_shifted } = this.memory.kernels;
    this.#rangeFrames.run(count, columns, tokens, (from, rows, shifted) => {
      const product = shifted ? matmul_shifted : matmul;
      product(
        kind,
        this.row(first + from),
        stride,
        rows,
        columns,
        input,
        inputStride,
        tokens,
        out.pointer + 4 * from,
        out.stride,
      );
    });
    return count * this.rowBytes;
  }

  /**
   * The same for a matrix that has some outputs of a layer, or all: results go to
   * the numbers of its rows, others are left alone.
   */
  multiplyOutputs(x: ProductInput, tokens: number, out: F32Rows): number {
    const { start } = spanOf(this.shard.rows);
    const { pointer, stride } = out;
    return this.multiply(x, tokens, { pointer: pointer + 4 * start, stride });
  }

  /** out[id] = row first + id · x[0] for `count` ids; returns the bytes of weights read. */
  multiplyRows(
    x: ProductInput,
    first: number,
    ids: number,
    count: number,
    out: number,
  ): number {
    const { kind, stride, columns } = this;
    const [input] = x.input(kind, columns, 1);
    const { matvec_rows, matvec_rows_shifted } = this.memory.kernels;
    this.#rowsFrames.run(count, columns, 1, (from, rows, shifted) => {
      const product = shifted ? matvec_rows_shifted : matvec_rows;
      product(
        kind,
        this.row(first),
        stride,
        ids + 4 * from,
        rows,
        columns,
        input,
        out,
      );
    });
    return count * this.rowBytes;
  }

  /**
   * out[t][id] = row id · x[t] for the ids of each token t: `counts[t]` of them,
   * ascending, those of one token behind those of another. Rows are taken in
   * panels that stay in a cache, so that one that several tokens need comes from
   * memory once.
   */
  multiplyListed(
    x: ProductInput,
    ids: number,
    counts: readonly number[],
    out: F32Rows,
  ): void {
    const { kind, stride, columns, pointer, rows, rowBytes } = this;
    const [input, inputStride] = x.input(kind, columns, counts.length);
    const { matvec_rows, matvec_rows_shifted } = this.memory.kernels;
    const count = counts.reduce((sum, count) => sum + count, 0);
    const panels = counts.length === 1
      ? 1
      : Math.ceil(count * rowBytes / panelBytes);
    let first = 0;
    const lists = counts.map((count) => {
      const list = this.memory.u32(ids + 4 * first, count);
      first += count;
      return list;
    });
    const done = counts.map(() => 0);
    for (let panel = 1; panel <= panels; panel++) {
      const end = panel / panels * rows;
      lists.forEach((list, t) => {
        const from = done[t];
        let to = panel === panels ? list.length : from;
        while (to < list.length && list[to] < end) to++;
        done[t] = to;
        this.#rowsFrames.run(to - from, columns, 1, (i, n, shifted) => {
          const product = shifted ? matvec_rows_shifted : matvec_rows;
          product(
            kind,
            pointer,
            stride,
            list.byteOffset + 4 * (from + i),
            n,
            columns,
            input + t * inputStride,
            out.pointer + 4 * t * out.stride,
          );
        });
      });
    }
  }

  #repackStaged(
    source: number,
    stride: number,
    count: number,
    first: number,
  ): void {
    const { rowOrder } = this;
    if (!rowOrder || this.#isVector) {
      return this.#repack(source, stride, count, first, first);
    }
    for (let i = 0; i < count; i++) {
      const row = first + i;
      this.#repack(source + i * stride, stride, 1, row, rowOrder[row]);
    }
  }

  /** Vectors are F32, and so are as they were in the file. */
  get #isVector(): boolean {
    return this.shard.tensor.shape.length === 1;
  }

  #moveElements(rowOrder: Uint32Array): void {
    const elements = this.memory.f32(this.pointer, this.columns);
    elements.slice().forEach((value, i) => elements[rowOrder[i]] = value);
  }

  /** Repacks rows of the shard, from `first` on, to where row `to` and those behind it lie. */
  #repack(
    source: number,
    stride: number,
    count: number,
    first: number,
    to: number,
  ): void {
    const written = this.memory.kernels.repack(
      ggmlTypes[this.shard.tensor.type].id,
      this.kind,
      source,
      count,
      stride,
      readColumns(this.shard).first,
      this.columns,
      this.row(to),
      this.stride,
    );
    if (written < count) throw notFinite(this.shard, first + written);
  }
}
