/** Files like another one, with matrices of another type. */
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { type GgmlType, ggmlTypes } from "../../src/formats/ggml/types.ts";

import { readGguf } from "../../src/formats/gguf/read.ts";
import {
  type TensorToWrite,
  toBuffer,
  writeGguf,
} from "../../src/formats/gguf/write.ts";
import { isNearestType, nearestBlocks } from "./nearest_blocks.ts";

/** The same file with every matrix that is named and whose rows allow it stored as `type`. */
export async function requantised(
  source: ByteSource,
  type: GgmlType,
  isNamed: (name: string) => boolean = () => true,
): Promise<ByteSource> {
  const file = await readGguf(source);
  const tensors: TensorToWrite[] = [];
  for (const tensor of file.tensors.values()) {
    const { name, shape } = tensor;
    const bytes = await source.read(tensor.offset, tensor.byteLength);
    const fits = isNamed(name) && shape.length > 1 &&
      shape[0] % ggmlTypes[type].blockSize === 0;
    if (!fits) {
      tensors.push({ name, shape, type: tensor.type, data: bytes });
      continue;
    }
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    dequantise(tensor.type, bytes, values);
    const data = isNearestType(type)
      ? nearestBlocks(type, values)
      : quantise(type, values);
    tensors.push({ name, shape, type, data });
  }
  const { magic, metadata } = file;
  return fromBuffer(await toBuffer(writeGguf({ magic, metadata, tensors })));
}
