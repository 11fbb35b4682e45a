/** The public vocabularies of the shared test data, and goldens about them. */
import { openFile } from "../../src/bytes/file.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import { tokenizerFromSentencePiece } from "../../src/tokenizer/sentencepiece_model.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { sharedUrl } from "../helpers/shared_data.ts";

/** Reads the tokenizer of a GGUF file of the shared data. */
export async function ggufTokenizer(path: string): Promise<Tokenizer> {
  const source = await openFile(sharedUrl(path));
  try {
    return tokenizerFromGguf(await readGguf(source));
  } finally {
    await source.close();
  }
}

/** llama.cpp's vocabulary-only file of this name. */
export function llamaCppTokenizer(
  name: "llama-spm" | "gpt-2",
): Promise<Tokenizer> {
  return ggufTokenizer(`data/tokenizers/llama-cpp/ggml-vocab-${name}.gguf`);
}

/** The SentencePiece model that Bamboo-7B uses. */
export async function mistralTokenizer(): Promise<Tokenizer> {
  return tokenizerFromSentencePiece(
    await Deno.readFile(
      sharedUrl("data/tokenizers/mistral-v1/tokenizer.model"),
    ),
  );
}

/** Ids as the goldens store them. */
export function parseIds(text: string): number[] {
  return text === "" ? [] : text.split(" ").map(Number);
}
