/** tiny-bamboo's vocabulary, public ones, and how goldens about them are stored. */
import { openFile } from "../../src/bytes/file.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import goldens from "./goldens/byte_level_bpe.json" with { type: "json" };
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import { tokenizerFromSentencePiece } from "../helpers/sentencepiece.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { fixtureUrl } from "../helpers/fixtures.ts";
import { dataUrl } from "../helpers/shared_data.ts";

/** Where llama.cpp's vocabulary-only file of this name lies among the public files. */
export function llamaCppPath(name: "llama-spm" | "gpt-2"): string {
  return `tokenizers/llama-cpp/ggml-vocab-${name}.gguf`;
}

/** Where the SentencePiece model that Bamboo-7B uses lies among the public files. */
export const mistralPath = "tokenizers/mistral-v1/tokenizer.model";

/** llama.cpp's vocabulary-only file of this name. */
export async function llamaCppTokenizer(
  name: "llama-spm" | "gpt-2",
): Promise<Tokenizer> {
  const source = await openFile(dataUrl(llamaCppPath(name)));
  try {
    return tokenizerFromGguf(await readGguf(source));
  } finally {
    await source.close();
  }
}

/** The SentencePiece model that Bamboo-7B uses. */
export async function mistralTokenizer(): Promise<Tokenizer> {
  return tokenizerFromSentencePiece(await Deno.readFile(dataUrl(mistralPath)));
}

/** tiny-bamboo's SentencePiece model, of 4,096 pieces. */
export function tinyBambooPieces(): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(fixtureUrl("tiny-bamboo/tokenizer.model"));
}

/** The tokens and merges of GPT-2 that the texts of the goldens can meet, each token at its id. */
export function gpt2Part(): { tokens: string[]; merges: string[] } {
  const { size, tokens, ids, merges } = goldens.vocabulary;
  const all = Array.from({ length: size }, (_, id) => `<unused ${id}>`);
  const known = parseIds(ids);
  tokens.split(" ").forEach((token, i) => all[known[i]] = token);
  return { tokens: all, merges };
}

/** Ids as the goldens store them. */
export function parseIds(text: string): number[] {
  return text === "" ? [] : text.split(" ").map(Number);
}
