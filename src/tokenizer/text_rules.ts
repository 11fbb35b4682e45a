/**
 * What a tokenizer.json says of texts and of added tokens that GGUF has no keys
 * for: culm writes keys of its own, which other programs pass over.
 */
import { TokenizerError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import type { GgufFile, MetadataEntry } from "../formats/gguf/gguf_file.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import {
  getBoolean,
  getNumbers,
  getString,
  getStrings,
} from "../formats/gguf/metadata.ts";
import { SPACE } from "./raw_text.ts";

/** Changes a text before tokens are looked for. */
export type Normaliser = (text: string) => string;

/** Steps by the names that Hugging Face's tokenizers gives them. */
const steps = {
  NFC: (text) => text.normalize("NFC"),
  NFD: (text) => text.normalize("NFD"),
  NFKC: (text) => text.normalize("NFKC"),
  NFKD: (text) => text.normalize("NFKD"),
  /** Each character by itself: none knows that it ends a word. */
  Lowercase: (text) =>
    Array.from(text, (character) => character.toLowerCase()).join(""),
  /** SentencePiece's space before the first word */
  Prepend: (text) => text === "" ? "" : SPACE + text,
  /** SentencePiece's spaces */
  Replace: (text) => text.replaceAll(" ", SPACE),
} satisfies Record<string, Normaliser>;

/** The name of a step of normalisation. */
export type NormaliserName = keyof typeof steps;

/** Whether a step of this name is known. */
export function isNormaliser(name: unknown): name is NormaliserName {
  return typeof name === "string" && Object.hasOwn(steps, name);
}

/** The steps, one after the other. */
export function normaliserOf(names: readonly NormaliserName[]): Normaliser {
  return (text) => names.reduce((text, name) => steps[name](text), text);
}

/** Where Hugging Face's `Metaspace` puts a space: before every stretch of text, before one that begins the text, or nowhere. */
export type PrependScheme = "always" | "first" | "never";

/** Hugging Face's way to write spaces as U+2581, after tokens were found. */
export interface Metaspace {
  /** Where a space comes first, unless there is one */
  readonly prepend: PrependScheme;
  /** Whether each space begins a word, over whose border nothing merges */
  readonly split: boolean;
}

/** Which ids of added tokens are found in a special way. */
export interface AddedTokenRules {
  /** Take the white space before them along */
  readonly lstrip: ReadonlySet<number>;
  /** Take the white space behind them along */
  readonly rstrip: ReadonlySet<number>;
  /** Are found between words only */
  readonly singleWord: ReadonlySet<number>;
  /** Are looked for in the normalised text, after all others */
  readonly normalized: ReadonlySet<number>;
}

/** Everything that these keys say; what is missing is as GGUF has it. */
export interface TextRules {
  /** Steps of normalisation */
  readonly normalizers?: readonly NormaliserName[];
  /** Of a SentencePiece vocabulary */
  readonly metaspace?: Metaspace;
  /** Whether a word that is a token is taken whole, where `tokenizer.ggml.pre` says otherwise */
  readonly ignoreMerges?: boolean;
  /** How added tokens are found */
  readonly added?: Partial<Record<keyof AddedTokenRules, readonly number[]>>;
}

const keyOf = (name: string) => `culm.tokenizer.${name}`;
const addedNames = {
  lstrip: "lstrip",
  rstrip: "rstrip",
  singleWord: "single_word",
  normalized: "normalized",
} as const satisfies Record<keyof AddedTokenRules, string>;

/** The keys that say these rules. */
export function textRulesMetadata(
  { normalizers, metaspace, ignoreMerges, added = {} }: TextRules,
): [string, MetadataEntry][] {
  const entries: [string, MetadataEntry | undefined][] = [
    ["normalizers", normalizers && entry.texts(normalizers)],
    ["metaspace", metaspace && entry.text(metaspace.prepend)],
    ["metaspace_split", metaspace?.split ? entry.flag(true) : undefined],
    [
      "ignore_merges",
      ignoreMerges === undefined ? undefined : entry.flag(ignoreMerges),
    ],
    ...Object.entries(addedNames).map(([name, key]) => {
      const ids = added[name as keyof AddedTokenRules];
      return [key, ids && entry.wholes(ids)] as [string, MetadataEntry];
    }),
  ];
  return entries.flatMap(([name, value]): [string, MetadataEntry][] =>
    value ? [[keyOf(name), value]] : []
  );
}

/**
 * The rules that a file states.
 *
 * @throws {TokenizerError} A step or scheme is not known.
 * @throws {FormatError} A value has the wrong type.
 */
export function readTextRules(
  file: Pick<GgufFile, "metadata">,
): TextRules {
  const normalizers = getStrings(file, keyOf("normalizers"));
  const unknown = normalizers?.find((name) => !isNormaliser(name));
  const prepend = getString(file, keyOf("metaspace"));
  const isScheme = prepend === undefined ||
    prepend === "always" || prepend === "first" || prepend === "never";
  if (unknown !== undefined || !isScheme) {
    throw new TokenizerError(
      `Cannot read the vocabulary: ${
        printable(JSON.stringify(unknown ?? prepend))
      } is no way to change texts; known are ${
        Object.keys(steps).join(", ")
      }, and always, first or never of a Metaspace`,
    );
  }
  const added: TextRules["added"] = {};
  for (const [name, key] of Object.entries(addedNames)) {
    const ids = getNumbers(file, keyOf(key));
    if (ids) added[name as keyof AddedTokenRules] = Array.from(ids);
  }
  return {
    normalizers: normalizers as readonly NormaliserName[] | undefined,
    metaspace: prepend === undefined ? undefined : {
      prepend,
      split: getBoolean(file, keyOf("metaspace_split")) ?? false,
    },
    ignoreMerges: getBoolean(file, keyOf("ignore_merges")),
    added,
  };
}
