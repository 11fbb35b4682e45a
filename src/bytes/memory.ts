import { bufferFor, type ByteSource, checkRange } from "./byte_source.ts";

/** Bytes that are in memory already; not copied until they are read. */
export function fromBuffer(
  bytes: Uint8Array | ArrayBuffer,
  name = "buffer",
): ByteSource {
  const view = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes;
  const size = view.length;
  return {
    name,
    size,
    // deno-lint-ignore require-await -- a range error must be a rejection
    async read(offset, length, spare) {
      checkRange({ name, size }, offset, length);
      const copy = bufferFor(length, spare);
      copy.set(view.subarray(offset, offset + length));
      return copy;
    },
    close: () => Promise.resolve(),
  };
}

/** A Blob, or a File that a person picked in a browser. */
export function fromBlob(blob: Blob, name?: string): ByteSource {
  const source = {
    name: name ?? (blob instanceof File ? blob.name : "blob"),
    size: blob.size,
  };
  return {
    ...source,
    async read(offset, length) {
      checkRange(source, offset, length);
      const part = blob.slice(offset, offset + length);
      return new Uint8Array(await part.arrayBuffer());
    },
    close: () => Promise.resolve(),
  };
}
