/** Files like another one, with other metadata. */
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import type { MetadataEntry } from "../../src/formats/gguf/gguf_file.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";

/** The same file with these keys; undefined takes one away. */
export async function withMetadata(
  source: ByteSource,
  changes: Readonly<Record<string, MetadataEntry | undefined>>,
): Promise<ByteSource> {
  const file = await readGguf(source);
  const metadata = new Map(file.metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value) metadata.set(key, value);
    else metadata.delete(key);
  }
  const tensors = [];
  for (
    const { name, shape, type, offset, byteLength } of file.tensors.values()
  ) {
    const data = await source.read(offset, byteLength);
    tensors.push({ name, shape, type, data });
  }
  const { magic } = file;
  return fromBuffer(await toBuffer(writeGguf({ magic, metadata, tensors })));
}
