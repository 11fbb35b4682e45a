import { unpackText } from "../bytes/packed_text.ts";
import { compileWasm } from "../platform/compiled_wasm.ts";
import { learn, type TokenBytes } from "./instance.ts";

/** Learns a vocabulary in a worker. Requested in this order: `compile`, `learn`. */
export class VocabularyService {
  #module!: WebAssembly.Module;

  /** The WebAssembly that a text has been made of. */
  async compile(text: string): Promise<WebAssembly.Module> {
    return this.#module = await compileWasm(
      "constrain",
      () => unpackText(text),
    );
  }

  /**
   * The memory of an instance that knows a vocabulary.
   *
   * @throws {UnsupportedError} where it cannot be known
   */
  learn(tokens: TokenBytes): Uint8Array<ArrayBuffer> {
    const { memory } = learn(this.#module, tokens);
    return new Uint8Array(memory.buffer).slice();
  }
}
