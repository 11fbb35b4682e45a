/** Bytes as a module of text holds them: by gzip and in base64. */
import { fromBase64 } from "./base64.ts";

/** The bytes that a text has been made of. */
export async function unpackText(text: string): Promise<ArrayBuffer> {
  const bytes = new Blob([fromBase64(text)]).stream()
    .pipeThrough(new DecompressionStream("gzip"));
  return await new Response(bytes).arrayBuffer();
}
