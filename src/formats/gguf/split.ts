import { UsageError } from "../../errors.ts";
import { tensorBytes } from "../ggml/types.ts";
import { alignUp, DEFAULT_ALIGNMENT, type MetadataEntry } from "./gguf_file.ts";
import { partKeys } from "./parts.ts";
import type { GgufToWrite, TensorToWrite } from "./write.ts";

/**
 * A file as gguf-split cuts it: tensors stay in order, each file takes as many
 * as `mostBytes` allow, headers not counted; metadata go into the first. What
 * fits one file stays one.
 *
 * @throws {UsageError} where one tensor takes more
 */
export function inParts(file: GgufToWrite, mostBytes: number): GgufToWrite[] {
  const groups: TensorToWrite[][] = [[]];
  let left = mostBytes;
  for (const tensor of file.tensors) {
    const { name, type, shape } = tensor;
    const bytes = alignUp(tensorBytes(type, shape), DEFAULT_ALIGNMENT);
    if (bytes > mostBytes) {
      throw new UsageError(
        `Cannot write files of up to ${mostBytes} bytes: tensor ${name} takes ${bytes}`,
      );
    }
    if (bytes > left) {
      groups.push([]);
      left = mostBytes;
    }
    groups.at(-1)!.push(tensor);
    left -= bytes;
  }
  if (groups.length === 1) return [file];
  return groups.map((tensors, index) => ({
    ...file,
    metadata: new Map<string, MetadataEntry>([
      ...index === 0 ? file.metadata : [],
      [partKeys.index, { type: "uint16", value: index }],
      [partKeys.count, { type: "uint16", value: groups.length }],
      [partKeys.tensors, { type: "int32", value: file.tensors.length }],
    ]),
    tensors,
  }));
}
