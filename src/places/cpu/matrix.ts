/**
 * Packed matrices in WASM memory, and the activations they are multiplied with.
 *
 * @module
 */
import { ggmlTypes, rowBytes } from "../../formats/ggml/types.ts";
import { lengthOf } from "../../plan/plan.ts";
import type { Rows, Slice } from "../slices.ts";
import type { WasmMemory } from "./memory.ts";
import { kindOfType, packedKind, packedRowBytes, roundUp } from "./packing.ts";

/** f32 rows in WASM memory, `[tokens, stride]`. */
export interface F32Rows {
  readonly pointer: number;
  /** Floats from one row to the next */
  readonly stride: number;
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

/**
 * The input of a product: f32 rows, and the same quantised to 8 bits for the
 * kernels of quantised weights. Quantised once, however many matrices read it.
 */
export class Activations implements F32Rows {
  readonly pointer: number;
  readonly stride: number;
  readonly #quantised: number;
  readonly #quantisedStride: number;
  #ready = false;

  /** Room for `tokens` rows of at most `width` numbers. */
  constructor(readonly memory: WasmMemory, tokens: number, width: number) {
    const rows = allocateRows(memory, tokens, width);
    this.pointer = rows.pointer;
    this.stride = rows.stride;
    this.#quantisedStride = memory.kernels.activation_row_bytes(width);
    this.#quantised = memory.allocate(tokens * this.#quantisedStride);
  }

  /** Call after writing the f32 rows. */
  changed(): void {
    this.#ready = false;
  }

  /** What a kernel of `kind` reads: where, and bytes from row to row. */
  input(kind: number, columns: number, tokens: number): [number, number] {
    if (kind === packedKind.f32 || kind === packedKind.f16) {
      return [this.pointer, 4 * this.stride];
    }
    if (!this.#ready) {
      this.memory.kernels.quantise_activations(
        this.pointer,
        this.stride,
        tokens,
        columns,
        this.#quantised,
        this.#quantisedStride,
      );
      this.#ready = true;
    }
    return [this.#quantised, this.#quantisedStride];
  }
}

/** A slice of a tensor, packed. */
export class PackedMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly kind: number;
  readonly rowBytes: number;
  readonly pointer: number;

  /** Makes room for the slice; {@linkcode write} fills it. */
  constructor(readonly memory: WasmMemory, readonly slice: Slice) {
    this.rows = lengthOf(slice.rows);
    this.columns = lengthOf(slice.columns);
    this.kind = kindOfType[slice.tensor.type];
    this.rowBytes = packedRowBytes(this.kind, this.columns);
    this.pointer = memory.allocate(this.rows * this.rowBytes);
  }

  /** Where a row begins. */
  row(index: number): number {
    return this.pointer + index * this.rowBytes;
  }

  /** Repacks rows of the file, which have been copied to `staging`. */
  write(rows: Rows, staging: number): void {
    const { tensor, columns } = this.slice;
    this.memory.bytes.set(rows.bytes, staging);
    this.memory.kernels.repack(
      ggmlTypes[tensor.type].id,
      this.kind,
      staging,
      rows.count,
      rowBytes(tensor.type, tensor.shape[0]),
      columns.start,
      this.columns,
      this.row(rows.first),
      this.rowBytes,
    );
  }

  /** out[t] = matrix · x[t]; returns the bytes of weights read. */
  multiply(x: Activations, tokens: number, out: F32Rows): number {
    const { kind, rowBytes, rows, columns, pointer } = this;
    const [input, inputStride] = x.input(kind, columns, tokens);
    this.memory.kernels.matmul(
      kind,
      pointer,
      rowBytes,
      rows,
      columns,
      input,
      inputStride,
      tokens,
      out.pointer,
      out.stride,
    );
    return rows * rowBytes;
  }

  /** out[id] = row id · x[0] for `count` ids; returns the bytes of weights read. */
  multiplyRows(
    x: Activations,
    ids: number,
    count: number,
    out: number,
  ): number {
    const { kind, rowBytes, columns, pointer } = this;
    const [input] = x.input(kind, columns, 1);
    this.memory.kernels.matvec_rows(
      kind,
      pointer,
      rowBytes,
      ids,
      count,
      columns,
      input,
      out,
    );
    return count * rowBytes;
  }

  /** out[t] += Σ h[t][j] · row j, rows whose h is 0 for every token left unread; returns the rows read. */
  addRows(h: F32Rows, tokens: number, out: F32Rows): number {
    return this.memory.kernels.axpy_rows(
      this.kind,
      this.pointer,
      this.rowBytes,
      this.rows,
      this.columns,
      h.pointer,
      h.stride,
      tokens,
      out.pointer,
      out.stride,
    );
  }
}
