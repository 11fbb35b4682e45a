import { dequantise } from "../../../formats/ggml/dequantise.ts";
import { indexAt, type IndexSet, lengthOf } from "../../../model/index_set.ts";
import {
  checkFinite,
  readColumns,
  type Rows,
  type Shard,
} from "../../../model/shard.ts";
import type { Buffers } from "./buffers.ts";
import {
  allStacks,
  type DeviceLayout,
  type LayerVectors,
  mapVectors,
  type VectorLayout,
} from "./layout.ts";
import { DeviceMatrix, type MatrixLayout } from "./matrix.ts";
import { RowPacker } from "./packing.ts";

/** The matrices and vectors of a place, in room made for them; the loader fills them. */
export class Weights {
  readonly layers: readonly LayerVectors<GPUBufferBinding>[];
  readonly output_norm: GPUBufferBinding;
  readonly output_norm_bias?: GPUBufferBinding;
  /** Divisors of the rotation's frequencies, where the file has them. */
  readonly ropeFactors?: Float32Array<ArrayBuffer>;
  readonly byteLength: number;
  readonly #matrices = new Map<MatrixLayout, DeviceMatrix>();
  /** What takes rows of a shard, as they stand in the file */
  readonly #takers = new Map<Shard, (rows: Rows) => void>();

  constructor(readonly buffers: Buffers, layout: DeviceLayout) {
    const { ropeFactors, layers, bytes, pieceBytes } = layout;
    const { output_norm, output_norm_bias } = layout;
    let byteLength = 0;
    for (const stack of allStacks(layout)) {
      for (const matrix of this.#room(stack, pieceBytes)) {
        byteLength += matrix.byteLength;
      }
    }
    this.byteLength = byteLength;
    const { STORAGE, COPY_DST } = GPUBufferUsage;
    const vectors = buffers.make("vectors", bytes.vectors, STORAGE | COPY_DST);
    let offset = 0;
    const vector = ({ length, parts }: VectorLayout): GPUBufferBinding => {
      const binding = { buffer: vectors, offset, size: 4 * length };
      const { queue } = buffers.device.gpu;
      for (const { shard, first, elements } of parts) {
        const at = offset + 4 * first;
        this.#takers.set(shard, (rows) => {
          const all = floatsOf(shard, rows);
          queue.writeBuffer(vectors, at, elements ? pick(all, elements) : all);
        });
      }
      offset += binding.size;
      return binding;
    };
    this.layers = layers.map(({ vectors }) => mapVectors(vectors, vector));
    this.output_norm = vector(output_norm);
    this.output_norm_bias = output_norm_bias && vector(output_norm_bias);
    if (ropeFactors) {
      const factors = new Float32Array(ropeFactors.tensor.shape[0]);
      this.ropeFactors = factors;
      this.#takers.set(ropeFactors, (rows) => {
        factors.set(floatsOf(ropeFactors, rows));
      });
    }
  }

  of(layout: MatrixLayout): DeviceMatrix {
    return this.#matrices.get(layout)!;
  }

  /**
   * Takes some rows of a shard; those of shards that the place does not hold are ignored.
   *
   * @throws {FormatError} where a weight is infinite or NaN
   */
  write(shard: Shard, rows: Rows): void {
    const take = this.#takers.get(shard);
    if (!take) return;
    checkFinite(shard, rows);
    take(rows);
  }

  #room(stack: readonly MatrixLayout[], pieceBytes: number): DeviceMatrix[] {
    const { buffers } = this;
    const name = stack.flatMap(({ shards }) => shards)
      .map(({ tensor }) => tensor.name).join(", ");
    const matrices = stack.length > 1
      ? DeviceMatrix.stack(buffers, name, stack)
      : [DeviceMatrix.make(buffers, name, stack[0], pieceBytes)];
    stack.forEach((layout, i) => this.#fill(layout, matrices[i]));
    return matrices;
  }

  #fill(layout: MatrixLayout, matrix: DeviceMatrix): void {
    this.#matrices.set(layout, matrix);
    let start = 0;
    for (const shard of layout.shards) {
      const first = start;
      const packer = new RowPacker(shard.tensor.type, layout.kept);
      this.#takers.set(
        shard,
        (rows) => matrix.write(packer, first + rows.first, rows),
      );
      start += lengthOf(shard.rows);
    }
  }
}

/** The elements of a vector that are the place's own. */
function floatsOf(shard: Shard, { bytes }: Rows): Float32Array<ArrayBuffer> {
  const { length, first } = readColumns(shard);
  const floats = new Float32Array(length);
  dequantise(shard.tensor.type, bytes, floats);
  return floats.subarray(first, first + lengthOf(shard.columns));
}

function pick(
  all: Float32Array<ArrayBuffer>,
  elements: IndexSet,
): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: lengthOf(elements) },
    (_, i) => all[indexAt(elements, i)],
  );
}
