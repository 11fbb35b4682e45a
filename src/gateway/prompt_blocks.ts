/**
 * What a prompt begins with, as far as that is known without its tokens: hashes of
 * its text's blocks, each of which stands for all blocks before it, too.
 */
import type { JsonObject } from "../formats/json.ts";

/** Characters of a block: 64 tokens, about. */
export const blockSize = 256;

/** The most blocks of a prompt that are told apart: 65,536 tokens, about. */
export const mostBlocks = 1024;

/** The fields of a body that make its prompt, in the order in which templates write them. */
const promptFields = [
  "tools",
  "system",
  "instructions",
  "input_extra",
  "messages",
  "prompt",
  "input",
  "content",
  "input_prefix",
  "suffix",
  "input_suffix",
] as const;

/** The text of a request's prompt: two that begin alike have prompts that do, for the same model. */
export function promptText(body: JsonObject): string {
  return promptFields.filter((name) => body[name] != null)
    .map((name) => JSON.stringify(body[name])).join("");
}

/**
 * The hashes of a text's whole blocks, of 53 bits, for one model: those of two
 * texts are equal up to the block in which they differ.
 */
export function blockHashes(text: string, model: string): number[] {
  const hash = new Hash().add(model, 0, model.length);
  const count = Math.min(mostBlocks, Math.floor(text.length / blockSize));
  return Array.from({ length: count }, (_, i) => {
    hash.add(text, i * blockSize, (i + 1) * blockSize);
    return hash.value;
  });
}

/** A hash of a text by itself. */
export function hashOf(text: string): number {
  return new Hash().add(text, 0, text.length).value;
}

/** A hash that goes on from text to text: two of 32 bits, mixed as in MurmurHash3. It is not made to withstand who looks for collisions, who gains nothing by one. */
class Hash {
  #a = 0xdeadbeef | 0;
  #b = 0x41c6ce57 | 0;

  add(text: string, from: number, to: number): this {
    let a = this.#a, b = this.#b;
    for (let i = from; i < to; i++) {
      const unit = text.charCodeAt(i);
      a = Math.imul(a ^ unit, 0x9e3779b1);
      b = Math.imul(b ^ unit, 0x5f356495);
    }
    // Between texts, so that where one ends matters.
    this.#a = mixed(a ^ b >>> 16);
    this.#b = mixed(b ^ a >>> 13);
    return this;
  }

  get value(): number {
    return (this.#b & 0x1fffff) * 2 ** 32 + (this.#a >>> 0);
  }
}

/** MurmurHash3's finalizer: every bit depends on every other. */
export function mixed(bits: number): number {
  bits = Math.imul(bits ^ bits >>> 16, 0x85ebca6b);
  bits = Math.imul(bits ^ bits >>> 13, 0xc2b2ae35);
  return bits ^ bits >>> 16;
}
