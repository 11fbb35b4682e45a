/**
 * tiny-bamboo: a small real dReLU model (8 M parameters, Q8_0) that is part of
 * the package, so that culm can write a story with no download and no
 * permission.
 *
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * for await (const piece of model.generate("Once upon a time", { maxTokens: 4 })) {
 *   console.log(piece.text);
 * }
 * ```
 *
 * @module
 */

import type { ByteSource } from "../src/bytes/byte_source.ts";
import { fromBase64 } from "../src/bytes/base64.ts";
import { fromBuffer } from "../src/bytes/memory.ts";
import gguf from "./tiny_bamboo.js";

/**
 * The GGUF file of tiny-bamboo (8,604,032 bytes; hidden 256, FFN 1024,
 * 6 layers, vocabulary 4096, context 512, trained on children's stories).
 *
 * It tells small stories in sensible English up to about 384 tokens.
 */
export function tinyBamboo(): ByteSource {
  return fromBuffer(fromBase64(gguf), "tiny-bamboo-q8_0.gguf");
}
