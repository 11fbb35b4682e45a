/** Writes ONNX files: the few messages of `onnx.proto` that a graph takes, in Protocol Buffers' encoding. */
import { concat } from "deno-std/bytes/concat.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** Element types, by their numbers in `TensorProto.DataType`. */
export const elementTypes = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  float16: 10,
} as const;

export type ElementType = keyof typeof elementTypes;

const utf8 = new TextEncoder();

/** Seven bits a byte, the lowest first; the highest bit says that more follow. */
function varint(value: number): Bytes {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) {
    bytes.push(value % 128 | 128);
  }
  return Uint8Array.of(...bytes, value);
}

/** A field of a number. */
function integer(field: number, value: number): Bytes {
  return concat([varint(field << 3), varint(value)]) as Bytes;
}

/** A field of bytes, of a text or of a message. */
function block(field: number, ...parts: (Uint8Array | string)[]): Bytes {
  const bytes = parts.map((part) =>
    typeof part === "string" ? utf8.encode(part) : part
  );
  const length = bytes.reduce((sum, each) => sum + each.length, 0);
  return concat([varint(field << 3 | 2), varint(length), ...bytes]) as Bytes;
}

/** A weight, or a constant. */
export function tensor(
  name: string,
  type: ElementType,
  shape: readonly number[],
  values: ArrayBufferView<ArrayBuffer>,
): Bytes {
  const { buffer, byteOffset, byteLength } = values;
  return concat([
    ...shape.map((size) => integer(1, size)),
    integer(2, elementTypes[type]),
    block(8, name),
    block(9, new Uint8Array(buffer, byteOffset, byteLength)),
  ]) as Bytes;
}

/** An input or an output; sizes that are not fixed have names. */
export function value(
  name: string,
  type: ElementType,
  shape: readonly (number | string)[],
): Bytes {
  const sizes = shape.map((size) =>
    block(1, typeof size === "number" ? integer(1, size) : block(2, size))
  );
  const { length } = sizes;
  const tensorType = block(
    1,
    integer(1, elementTypes[type]),
    length > 0 ? block(2, ...sizes) : new Uint8Array(),
  );
  return concat([block(1, name), block(2, tensorType)]) as Bytes;
}

/** Numbers with a point are floats, others integers. */
export interface Attributes {
  readonly integers?: Readonly<Record<string, number>>;
  readonly floats?: Readonly<Record<string, number>>;
}

const attributeTypes = { float: 1, integer: 2 };

/** An operation. An input without a name is left out. */
export function node(
  operation: string,
  inputs: readonly string[],
  outputs: readonly string[],
  { integers = {}, floats = {} }: Attributes = {},
  domain = "",
): Bytes {
  const attributes = [
    ...Object.entries(integers).map(([name, each]) =>
      block(
        5,
        block(1, name),
        integer(3, each),
        integer(20, attributeTypes.integer),
      )
    ),
    ...Object.entries(floats).map(([name, each]) => {
      const bytes = new Uint8Array(Float32Array.of(each).buffer);
      const number = concat([varint(2 << 3 | 5), bytes]);
      return block(
        5,
        block(1, name),
        number,
        integer(20, attributeTypes.float),
      );
    }),
  ];
  return concat([
    ...inputs.map((name) => block(1, name)),
    ...outputs.map((name) => block(2, name)),
    block(4, operation),
    ...attributes,
    block(7, domain),
  ]) as Bytes;
}

/** A graph's parts, in the order in which it computes. */
export interface Graph {
  readonly nodes: readonly Bytes[];
  readonly tensors: readonly Bytes[];
  readonly inputs: readonly Bytes[];
  readonly outputs: readonly Bytes[];
}

/** A file with the operations of ONNX 21, and those of Microsoft's runtime. */
export function onnxFile(graph: Graph): Bytes {
  const domain = (name: string, version: number) =>
    block(8, block(1, name), integer(2, version));
  return concat([
    integer(1, 10),
    block(
      7,
      ...graph.nodes.map((each) => block(1, each)),
      block(2, "decoder"),
      ...graph.tensors.map((each) => block(5, each)),
      ...graph.inputs.map((each) => block(11, each)),
      ...graph.outputs.map((each) => block(12, each)),
    ),
    domain("", 21),
    domain("com.microsoft", 1),
  ]) as Bytes;
}
