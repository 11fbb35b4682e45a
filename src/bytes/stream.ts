/** Bytes that come a chunk after another. */
// @ts-types="../std/concat.d.ts"
import { concat } from "deno-std/bytes/concat.js";

/** All of them in one. */
export async function allBytes(
  chunks: AsyncIterable<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return concat(all);
}

/** The chunks of a stream, which in Safari cannot be iterated; leaving the loop early cancels it. */
export async function* chunksOf<Chunk>(
  stream: ReadableStream<Chunk>,
): AsyncGenerator<Chunk, void, void> {
  const reader = stream.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The chunks, until the signal is aborted: then its reason is thrown. */
export async function* abortable<Chunk>(
  chunks: AsyncIterable<Chunk>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk, void, void> {
  signal?.throwIfAborted();
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

/** Writes all chunks and closes the stream; where they fail, it is aborted. */
export async function writeStream(
  stream: WritableStream<Uint8Array>,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const writer = stream.getWriter();
  try {
    for await (const chunk of chunks) await writer.write(chunk);
    await writer.close();
  } catch (error) {
    // The stream may have failed itself.
    await writer.abort(error).catch(() => {});
    throw error;
  } finally {
    writer.releaseLock();
  }
}
