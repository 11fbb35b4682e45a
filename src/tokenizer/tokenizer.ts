import type { OptionsOf } from "../options.ts";

/** How a text becomes ids. */
export const encodeOptions = {
  /** Puts BOS before and EOS after the ids where the file requires them. */
  addSpecial: {
    type: "boolean",
    default: true,
    description: "put BOS before and EOS after the ids where the file says so",
  },
  /** Puts EOS behind, where `addSpecial` and the file say so; not behind a text that is to go on. */
  addEos: {
    type: "boolean",
    default: true,
    description: "put EOS behind the ids where the file says so",
  },
  /**
   * Reads special tokens that are spelled out in the text, such as
   * `<|im_start|>`, as one id each. Otherwise they are plain text.
   */
  parseSpecial: {
    type: "boolean",
    default: false,
    flag: "--parse-special",
    description: "read special tokens that the text spells out as one id each",
  },
} as const;

/** How a text becomes ids. Everything may be left out. */
export type EncodeOptions = OptionsOf<typeof encodeOptions>;

/** How ids become a text. */
export interface DecodeOptions {
  /** Leaves out control and unknown tokens. Default true. */
  readonly skipSpecial?: boolean;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Number of ids: they run from 0 to `vocabSize - 1`. */
  readonly vocabSize: number;
  /** Id that begins a text. */
  readonly bos?: number;
  /** Id that ends a text. */
  readonly eos?: number;
  /** Id for what the vocabulary cannot spell. */
  readonly unk?: number;
  /** Whether `encode` puts BOS first. */
  readonly addBos: boolean;
  /** Whether `encode` puts EOS last. */
  readonly addEos: boolean;
  /** Whether `encode` puts a space before a text, and `decode` takes it off. */
  readonly addSpacePrefix: boolean;
  /**
   * The ids of a text. A lone surrogate counts as U+FFFD.
   *
   * @throws {TokenizerError} The text holds a byte that neither a token nor an unknown token stands for.
   */
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * The whole text that ids stand for: bytes that are not UTF-8 become
   * U+FFFD, and the space that `encode` puts first is taken off.
   *
   * @throws {UsageError} An id is not in the vocabulary.
   */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /**
   * The bytes that an id adds to a text; for a special token, its name.
   *
   * @throws {UsageError} The id is not in the vocabulary.
   */
  pieceBytes(id: number): Uint8Array;
  /**
   * An id as the vocabulary writes it, for logs.
   *
   * @throws {UsageError} The id is not in the vocabulary.
   */
  pieceText(id: number): string;
  /** Whether an id is a control or unknown token, so not a part of the text. */
  isSpecial(id: number): boolean;
  /** Whether a model says with this id that its answer is complete. */
  isEndOfGeneration(id: number): boolean;
  /** Ids that frame the parts of a file to fill in, where the vocabulary has them. */
  readonly fim?: {
    readonly prefix: number;
    readonly suffix: number;
    readonly middle: number;
    /** Comes before the name of a repository */
    readonly repository?: number;
    /** Comes before the name of each file of it */
    readonly separator?: number;
  };
  /** What is odd about the vocabulary, and what was done about it: one sentence each. */
  readonly notes?: readonly string[];
}
