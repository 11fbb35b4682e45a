import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

/** How a stream of ids becomes a text. */
export interface DetokenizerOptions extends DecodeOptions {
  /**
   * The ids begin a text, so the space that `encode` puts first is taken off.
   * Default false: the text continues another, and keeps its leading space.
   */
  readonly stripLeadingSpace?: boolean;
  /** Special tokens that are not left out. */
  readonly shown?: Iterable<number>;
}

/**
 * Turns ids into text one by one. A character that is spread over several ids
 * comes out with the last of them; bytes that are not UTF-8 become U+FFFD.
 */
export class Detokenizer {
  readonly #skipSpecial: boolean;
  // A byte order mark inside a text is a character like any other.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #shown: ReadonlySet<number>;
  #stripsSpace: boolean;

  /** Starts a text. */
  constructor(
    readonly tokenizer: Tokenizer,
    options: DetokenizerOptions = {},
  ) {
    this.#skipSpecial = options.skipSpecial ?? true;
    this.#shown = new Set(options.shown);
    this.#stripsSpace = (options.stripLeadingSpace ?? false) &&
      tokenizer.addSpacePrefix;
  }

  /**
   * Takes an id and returns the text that is now complete, often "".
   *
   * @throws {UsageError} The id is not in the vocabulary.
   */
  push(id: number): string {
    let bytes = this.tokenizer.pieceBytes(id);
    if (this.tokenizer.isSpecial(id)) {
      if (this.#skipSpecial && !this.#shown.has(id)) return "";
    } else if (this.#stripsSpace) {
      this.#stripsSpace = false;
      if (bytes[0] === 0x20) bytes = bytes.subarray(1);
    }
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** Ends the text: a character that is still incomplete comes out as U+FFFD. */
  flush(): string {
    return this.#decoder.decode();
  }
}
