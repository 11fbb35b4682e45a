/**
 * tiny-bamboo: a small real dReLU model (8 M parameters, Q8_0) as a module, so
 * that [culm](https://jsr.io/@culm/culm) can write a story with no download and
 * no permission.
 *
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * for await (const piece of model.generate("Once upon a time", { maxTokens: 4 })) {
 *   console.log(piece.text);
 * }
 * ```
 *
 * @module
 */
import gguf from "./tiny_bamboo.js";

/** A file in memory: what culm takes for a `ByteSource`. */
export interface GgufFile {
  /** What to call it in messages. */
  readonly name: string;
  /** Its length in bytes. */
  readonly size: number;
  /**
   * A copy of the `length` bytes from `offset`.
   *
   * @throws {RangeError} where they are not all in the file
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Has nothing to let go of. */
  close(): Promise<void>;
}

/**
 * The GGUF file of tiny-bamboo (8,604,032 bytes; hidden 256, FFN 1024,
 * 6 layers, vocabulary 4096, context 512, trained on children's stories).
 *
 * It tells small stories in sensible English up to about 384 tokens.
 */
export function tinyBamboo(): GgufFile {
  const name = "tiny-bamboo-q8_0.gguf";
  const bytes = fromBase64(gguf);
  const size = bytes.length;
  return {
    name,
    size,
    // deno-lint-ignore require-await -- a range error must be a rejection
    async read(offset, length) {
      const isWithin = offset >= 0 && length >= 0 && offset + length <= size;
      if (isWithin) return bytes.slice(offset, offset + length);
      throw new RangeError(
        `Cannot read ${name}: bytes ${offset}..${
          offset + length
        } are asked for, the file has ${size}`,
      );
    },
    close: () => Promise.resolve(),
  };
}

/** What Node 22 does not have. */
interface Native {
  fromBase64?(text: string): Uint8Array<ArrayBuffer>;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return (Uint8Array as Native).fromBase64?.(text) ?? fromCharacters(text);
}

function fromCharacters(text: string): Uint8Array<ArrayBuffer> {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}
