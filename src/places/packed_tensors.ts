/** As what tensors of a file are kept where they are computed with. */
import type { TensorInfo } from "../formats/gguf/read.ts";
import {
  kindNames,
  kindOfColumns,
  packedRowBytes,
} from "../kernels/packing.ts";
import { matrixBytes, matrixShape } from "./gpu/memory/matrix.ts";

/** How a tensor is kept. */
export interface Packing {
  /** The name of the layout of its rows. */
  readonly layout: string;
  /** What it takes as a whole. */
  readonly bytes: number;
}

/** How a tensor is kept by CPU places, and by a GPU. */
export interface Packings {
  /** By the CPU's places. */
  readonly cpu: Packing;
  /** By a GPU; what it has only some columns of may be F32. */
  readonly gpu: Packing;
}

/** As what a tensor is kept. */
export function packingsOf(
  { type, shape: [columns, ...others] }: Pick<TensorInfo, "type" | "shape">,
): Packings {
  const rows = others.reduce((product, side) => product * side, 1);
  const kind = kindOfColumns(type, 0, columns);
  const onGpu = matrixShape(type, rows, [{ start: 0, end: columns }]);
  return {
    cpu: {
      layout: kindNames[kind],
      bytes: rows * packedRowBytes(kind, columns),
    },
    gpu: { layout: onGpu.type, bytes: matrixBytes(onGpu) },
  };
}
