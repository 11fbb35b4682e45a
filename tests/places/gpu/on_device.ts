/** Kernels by themselves, on whatever adapter is here. */
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import type { GgmlType } from "../../../src/formats/ggml/types.ts";
import { Commands } from "../../../src/places/gpu/device/commands.ts";
import { Device } from "../../../src/places/gpu/device/device.ts";
import {
  Buffers,
  uniformBytes,
  Uniforms,
} from "../../../src/places/gpu/memory/buffers.ts";
import {
  DeviceMatrix,
  matrixShape,
} from "../../../src/places/gpu/memory/matrix.ts";
import {
  packedRowBytes,
  RowPacker,
} from "../../../src/places/gpu/memory/packing.ts";
import {
  putHeader,
  stepWords,
} from "../../../src/places/gpu/kernels/step_words.ts";
import type { KernelContext } from "../../../src/places/gpu/run/context.ts";
import type { Range } from "../../../src/model/index_set.ts";
import { randomWeights } from "../../helpers/random_weights.ts";

/** A device and what kernels need, given back at the end. */
export class Bench implements Disposable {
  readonly buffers: Buffers;
  readonly commands: Commands;
  readonly context: KernelContext;

  private constructor(readonly device: Device, step: Uint32Array<ArrayBuffer>) {
    this.commands = new Commands(device);
    this.buffers = new Buffers(device);
    this.context = {
      commands: this.commands,
      buffers: this.buffers,
      pipelines: device.pipelines,
      uniforms: new Uniforms(this.buffers, 64 * uniformBytes),
      step: this.buffer(step),
      counters: this.buffer(new Uint32Array(64)),
    };
  }

  /** Opens a device, with these words as the step. */
  static async open(step: Uint32Array<ArrayBuffer>): Promise<Bench> {
    return new Bench(await Device.open(), step);
  }

  /** A buffer with this in it. */
  buffer(
    data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
  ): GPUBuffer {
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    const buffer = this.buffers.make(
      "test",
      data.byteLength,
      STORAGE | COPY_DST | COPY_SRC,
    );
    this.device.gpu.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  /** Runs `encode` and reads a buffer; throws what the device refuses. */
  async run(encode: () => void, from: GPUBuffer): Promise<ArrayBuffer> {
    return await this.device.accepts("test", async () => {
      encode();
      const staging = this.buffers.make(
        "read back",
        from.size,
        GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      );
      this.commands.copy(from, 0, staging, 0, from.size);
      this.commands.submit();
      await staging.mapAsync(GPUMapMode.READ);
      const bytes = staging.getMappedRange().slice(0);
      staging.unmap();
      return bytes;
    });
  }

  /** Gives the device back. */
  [Symbol.dispose](): void {
    this.device.destroy();
  }
}

/** The header of a step, and records with nothing but the wanted tokens. */
export function stepOf(
  tokens: number,
  { wanted = [], stretches = 1, top = 0 }: {
    wanted?: number[];
    stretches?: number;
    top?: number;
  } = {},
): Uint32Array<ArrayBuffer> {
  const { header_words, record_wanted, record_angles } = stepWords;
  const words = new Uint32Array(header_words + tokens * record_angles);
  putHeader(words, {
    token_count: tokens,
    wanted_count: wanted.length,
    stretch_count: stretches,
    token_words: record_angles,
    top_count: top,
    split_count: 1,
  });
  wanted.forEach((token, i) =>
    words[header_words + i * record_angles + record_wanted] = token
  );
  return words;
}

/** A matrix on the device, and what is in it. */
export interface Weights {
  readonly matrix: DeviceMatrix;
  /** `[rows][columns]`, as the kernels should read them */
  readonly rows: Float32Array[];
}

/** Random weights of a type, of whose columns `runs` are kept, in pieces of at most `pieceRows` rows. */
export function weightsOf(
  bench: Bench,
  type: GgmlType,
  rows: number,
  length: number,
  { runs = [{ start: 0, end: length }], pieceRows = rows }: {
    runs?: Range[];
    pieceRows?: number;
  } = {},
): Weights {
  const shape = matrixShape(type, rows, runs);
  const pieceBytes = pieceRows * packedRowBytes(shape.type, shape.columns);
  const matrix = DeviceMatrix.make(bench.buffers, "matrix", shape, pieceBytes);
  return filled(matrix, type, length, runs, rows + length, 0.5);
}

/** Random weights of a type and of mean square `size`², about, for two matrices in one buffer. */
export function pairOf(
  bench: Bench,
  type: GgmlType,
  rows: number,
  length: number,
  size: number,
): [Weights, Weights] {
  const runs = [{ start: 0, end: length }];
  const shape = matrixShape(type, rows, runs);
  const [one, two] = DeviceMatrix.stack(bench.buffers, "pair", [shape, shape]);
  return [
    filled(one, type, length, runs, 1, size),
    filled(two, type, length, runs, 2, size),
  ];
}

function filled(
  matrix: DeviceMatrix,
  type: GgmlType,
  length: number,
  runs: Range[],
  seed: number,
  size: number,
): Weights {
  const { rows } = matrix;
  const bytes = randomWeights(type, rows * length, seed, size);
  const all = new Float32Array(rows * length);
  dequantise(type, bytes, all);
  const packer = new RowPacker(type, { length, runs });
  // In two chunks, as a loader hands them over.
  const rowBytes = bytes.length / rows, half = Math.floor(rows / 2);
  matrix.write(packer, 0, {
    first: 0,
    count: half,
    bytes: bytes.subarray(0, half * rowBytes),
  });
  matrix.write(packer, half, {
    first: half,
    count: rows - half,
    bytes: bytes.subarray(half * rowBytes),
  });
  return {
    matrix,
    rows: Array.from(
      { length: rows },
      (_, r) =>
        Float32Array.from(
          runs.flatMap((
            { start, end },
          ) => [...all.subarray(r * length + start, r * length + end)]),
        ),
    ),
  };
}
