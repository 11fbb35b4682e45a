import {
  bufferFor,
  type ByteSource,
  checkRange,
} from "../bytes/byte_source.ts";
import type { Folder } from "../bytes/folder.ts";
import { headerOf } from "../formats/gguf/write.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import { fileOf, prepare } from "./convert.ts";
import { type Rows, strideOf } from "./rows.ts";

/**
 * A Hugging Face folder as the F16 GGUF file that it converts to. The caller
 * closes it.
 *
 * @throws {UsageError} where a file is missing
 * @throws {UnsupportedError} for models, types and tokenizers that culm does not know
 * @throws {FormatError} where a file is damaged, or files contradict one another
 */
export async function viewFolder(folder: Folder): Promise<ByteSource> {
  const { contents, tensors } = await prepare(folder, { type: "F16" });
  const { header, file } = await headerOf(
    fileOf(contents, tensors, "F16"),
    folder.name,
  ).catch(async (error) => {
    await contents.close();
    throw error;
  });
  const places = [...file.tensors.values()];
  return {
    name: folder.name,
    size: file.size,
    read: async (offset, length, spare) => {
      checkRange({ name: folder.name, size: file.size }, offset, length);
      const bytes = bufferFor(length, spare).fill(0);
      const end = offset + length;
      if (offset < header.length) {
        bytes.set(header.subarray(offset, Math.min(end, header.length)));
      }
      for (const tensor of places) {
        const from = Math.max(offset, tensor.offset);
        const to = Math.min(end, tensor.offset + tensor.byteLength);
        if (from >= to) continue;
        const rows = tensors.get(tensor.name)!;
        bytes.set(await readRange(rows, tensor, from, to), from - offset);
      }
      return bytes;
    },
    close: () => contents.close(),
  };
}

/** Bytes `from..to` of the file, all of them the tensor's. */
async function readRange(
  rows: Rows,
  { offset }: TensorInfo,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const stride = strideOf(rows);
  const first = Math.floor((from - offset) / stride);
  const end = Math.ceil((to - offset) / stride);
  const bytes = await rows.read(first, end - first);
  const skipped = from - offset - first * stride;
  return bytes.subarray(skipped, skipped + to - from);
}
