import type { ByteSource } from "./byte_source.ts";
import { sha256 } from "./sha256.ts";

/** How much of a file is looked at: files of some GB have a sample in every large tensor. */
const samples = 256;
const sampleBytes = 4096;

/**
 * SHA-256, in hexadecimal, of `header`, and of each source's size and samples
 * evenly over it, so that any change of more than 1/256 of a source is seen.
 */
export async function fingerprintOf(
  header: Uint8Array<ArrayBuffer>,
  sources: readonly ByteSource[],
): Promise<string> {
  const parts: Uint8Array<ArrayBuffer>[] = [header];
  for (const source of sources) {
    parts.push(new TextEncoder().encode(`${source.size}\n`));
    parts.push(...await samplesOf(source));
  }
  const bytes = await new Blob(parts).arrayBuffer();
  return await sha256(bytes);
}

function samplesOf(
  source: ByteSource,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const length = Math.min(sampleBytes, source.size);
  const count = Math.min(samples, Math.ceil(source.size / sampleBytes));
  const last = source.size - length;
  return Promise.all(Array.from({ length: count }, (_, i) => {
    const offset = count === 1 ? 0 : Math.floor(last * i / (count - 1));
    return source.read(offset, length);
  }));
}
