/**
 * What a file would say, without making its weights.
 *
 * @module
 */
import { type GgufFile, readGguf } from "./read.ts";
import { ggufParts, type GgufToWrite } from "./write.ts";

/** The header of a file that is to be written, and what a reader makes of it. */
export async function headerOf(
  file: GgufToWrite,
  name: string,
): Promise<{ header: Uint8Array; file: GgufFile }> {
  const { header } = ggufParts(file);
  const parsed = await readGguf({
    name,
    size: Number.MAX_SAFE_INTEGER,
    read: (offset, length) => {
      const bytes = new Uint8Array(length);
      bytes.set(header.subarray(offset, offset + length));
      return Promise.resolve(bytes);
    },
    close: () => Promise.resolve(),
  });
  const ends = parsed.tensors.values().map((each) =>
    each.offset + each.byteLength
  );
  return {
    header,
    file: { ...parsed, size: Math.max(header.length, ...ends) },
  };
}
