import { type ByteSource, localFilesOf } from "./byte_source.ts";

/**
 * The bytes of `first`, and after them those of `second`. No range may reach
 * over the border. Closes neither.
 */
export function joined(first: ByteSource, second: ByteSource): ByteSource {
  return {
    name: first.name,
    size: first.size + second.size,
    localFiles: localFilesOf([first, second]),
    read: (offset, length, spare) =>
      offset < first.size
        ? first.read(offset, length, spare)
        : second.read(offset - first.size, length, spare),
    close: () => Promise.resolve(),
  };
}
