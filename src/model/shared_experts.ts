/**
 * Shared experts: an FFN beside the routed ones, which every token passes
 * through. It is as many more experts as it is times as wide, that every token
 * chooses, each for what the shared one's own gate says; files have it in
 * tensors of its own (`_shexp`).
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import { ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import type { RowPiece, TensorInfo } from "../formats/gguf/gguf_file.ts";

/** Sizes that tell where the parts of a tensor lie. */
interface Sizes {
  readonly hiddenSize: number;
  /** Neurons of one expert */
  readonly expertSize: number;
  /** Experts that tokens choose among */
  readonly routed: number;
  /** Experts that the shared one is */
  readonly shared: number;
}

/** Rows of a tensor, and where they lie. */
interface Part extends Omit<RowPiece, "first" | "end"> {
  readonly tensor: TensorInfo;
  readonly rows: number;
}

/**
 * A file's tensors, those of shared experts behind the routed ones: expert e is
 * a shared one from `routed` on.
 *
 * @throws {FormatError} where one is missing, or of another shape
 * @throws {UnsupportedError} where a shared expert's weights are of another type
 */
export function withSharedExperts(
  tensors: ReadonlyMap<string, TensorInfo>,
  sizes: Sizes,
): ReadonlyMap<string, TensorInfo> {
  const found = new Map(tensors);
  if (sizes.shared === 0) return found;
  for (const name of tensors.keys()) {
    const [, block, own] = /^(blk\.\d+)\.(\w+)_shexp\.weight$/.exec(name) ?? [];
    if (block === undefined) continue;
    const joint = `${block}.${own}.weight`, routed = tensors.get(joint);
    const shape = shapes[own]?.(sizes);
    // Whoever looks for tensors refuses one that is not asked for.
    if (!routed || !shape) continue;
    const tensor = checked(tensors.get(name)!, routed, shape);
    const parts = [wholeOf(routed), ...partsOf(own, tensor, sizes)];
    found.set(joint, joined(routed, parts));
    found.delete(name);
  }
  for (const name of tensors.keys()) {
    const [, block] = /^(blk\.\d+)\.ffn_gate_inp\.weight$/.exec(name) ?? [];
    for (const own of block === undefined ? [] : Object.keys(shapes)) {
      const needed = `${block}.${own}_shexp.weight`;
      if (tensors.has(needed)) continue;
      throw new FormatError(
        `Cannot read the model: tensor ${needed} is missing`,
      );
    }
  }
  return found;
}

/** Columns and rows of each tensor of a shared expert. */
const shapes: Readonly<Record<string, (sizes: Sizes) => [number, number]>> = {
  ffn_gate: ({ hiddenSize, expertSize, shared }) => [
    hiddenSize,
    shared * expertSize,
  ],
  ffn_up: ({ hiddenSize, expertSize, shared }) => [
    hiddenSize,
    shared * expertSize,
  ],
  ffn_down: ({ hiddenSize, expertSize, shared }) => [
    shared * expertSize,
    hiddenSize,
  ],
  ffn_gate_inp: ({ hiddenSize }) => [hiddenSize, 1],
};

function checked(
  tensor: TensorInfo,
  routed: TensorInfo,
  [columns, rows]: [number, number],
): TensorInfo {
  const [width, height = 1, ...others] = tensor.shape;
  if (width !== columns || height !== rows || others.some((n) => n !== 1)) {
    throw new FormatError(
      `Cannot read tensor ${tensor.name}: its shape is [${
        tensor.shape.join(", ")
      }], the model needs [${columns}, ${rows}]`,
    );
  }
  if (tensor.type === routed.type) return tensor;
  throw new UnsupportedError(
    `Cannot run a shared expert of another type than the others: ${tensor.name} is ${tensor.type}, ${routed.name} ${routed.type}; culm convert --type q8_0 --allow-requantize makes them one`,
  );
}

function wholeOf(tensor: TensorInfo): Part {
  const { type, shape: [columns, rows], offset } = tensor;
  return { tensor, rows, offset, stride: rowBytes(type, columns) };
}

/** A shared expert's tensor as rows of several experts. */
function partsOf(
  name: string,
  tensor: TensorInfo,
  { hiddenSize, expertSize, shared }: Sizes,
): Part[] {
  const whole = wholeOf(tensor);
  if (name === "ffn_gate_inp") {
    // Each has the gate of the whole.
    return [{ ...whole, rows: shared, stride: 0 }];
  }
  if (name !== "ffn_down") return [whole];
  const { type } = tensor, { blockSize } = ggmlTypes[type];
  if (expertSize % blockSize !== 0) {
    throw new UnsupportedError(
      `Cannot run a shared expert of type ${type} beside experts of ${expertSize} neurons: its blocks have ${blockSize}`,
    );
  }
  return Array.from({ length: shared }, (_, i) => ({
    tensor,
    rows: hiddenSize,
    offset: tensor.offset + i * rowBytes(type, expertSize),
    stride: whole.stride,
  }));
}

/** One tensor of the rows of all parts. */
function joined(routed: TensorInfo, parts: readonly Part[]): TensorInfo {
  let first = 0;
  const pieces = parts.map(({ rows, offset, stride }) => ({
    first,
    end: first += rows,
    offset,
    stride,
  }));
  const { type, shape: [columns] } = routed;
  return {
    ...routed,
    shape: [columns, first],
    byteLength: first * rowBytes(type, columns),
    pieces,
  };
}
