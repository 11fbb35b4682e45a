/** Bytes as a module of text holds them: by gzip and in base64. */
import { fromBase64 } from "./base64.ts";
import { allBytes, chunksOf } from "./stream.ts";

/** The bytes that a text has been made of. */
export async function unpackText(text: string): Promise<ArrayBuffer> {
  const { readable, writable } = new DecompressionStream("gzip");
  const writer = writable.getWriter();
  const [bytes] = await Promise.all([
    allBytes(chunksOf(readable)),
    writer.write(fromBase64(text)),
    writer.close(),
  ]);
  return bytes.buffer;
}
