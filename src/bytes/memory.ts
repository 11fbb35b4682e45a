import { FormatError } from "../errors.ts";
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
    async read(offset, length, spare) {
      checkRange(source, offset, length);
      const part = blob.slice(offset, offset + length);
      const room = bufferFor(length, spare);
      const fits = room.buffer === spare && length > 0;
      return fits && await readInto(room, part, source.name) ||
        new Uint8Array(await part.arrayBuffer());
    },
    close: () => Promise.resolve(),
  };
}

/** Reads a whole Blob into bytes of its size, whose buffer moves on; undefined where this engine cannot. */
async function readInto(
  room: Uint8Array<ArrayBuffer>,
  blob: Blob,
  name: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  let reader;
  try {
    reader = blob.stream().getReader({ mode: "byob" });
  } catch {
    return undefined; // Safari's streams of Blobs give chunks of their own.
  }
  const { length } = room; // Of a buffer that has moved on it is 0.
  let { buffer } = room;
  for (let filled = 0; filled < length;) {
    const rest = new Uint8Array(buffer, filled, length - filled);
    const { value, done } = await reader.read(rest);
    if (done) {
      throw new FormatError(`Cannot read ${name}: it has become shorter`);
    }
    buffer = value.buffer;
    filled += value.length;
  }
  await reader.cancel();
  return new Uint8Array(buffer, 0, length);
}
