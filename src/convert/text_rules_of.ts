/** What a tokenizer.json says of normalisation, words and special tokens, in GGUF's terms and in culm's own. */
import { UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject } from "../formats/json.ts";
import { gpt2Cut, pretokenizerWith } from "../tokenizer/pretokenizer.ts";
import { SPACE } from "../tokenizer/raw_text.ts";
import {
  isNormaliser,
  type Metaspace,
  type NormaliserName,
} from "../tokenizer/text_rules.ts";

/** The steps of a `Sequence`, those in one another too, or the one step that there is. */
function stepsOf(value: unknown): JsonObject[] {
  if (!isObject(value)) return [];
  if (value.type !== "Sequence") return [value];
  const inner = value.normalizers ?? value.pretokenizers ?? value.processors;
  return Array.isArray(inner) ? inner.flatMap(stepsOf) : [];
}

function unsupported(name: string, what: string, value: unknown, why: string) {
  return new UnsupportedError(
    `Cannot convert ${name}: its ${what} ${
      printable(JSON.stringify(value) ?? "missing")
    } ${why}`,
  );
}

/** Whether texts are pieces with byte tokens, as SentencePiece's, or bytes as characters. */
export type TextForm = "pieces" | "bytes";

/**
 * The steps of normalisation.
 *
 * @throws {UnsupportedError} for a step that culm has not
 */
export function normalizersOf(
  { normalizer }: JsonObject,
  form: TextForm,
  name: string,
): NormaliserName[] {
  return stepsOf(normalizer).map((step) => {
    const { type, prepend, content } = step;
    const from = isObject(step.pattern) ? step.pattern.String : undefined;
    const isKnown = type === "Prepend"
      ? form === "pieces" && prepend === SPACE
      : type === "Replace"
      ? form === "pieces" && from === " " && content === SPACE
      : isNormaliser(type);
    if (isKnown) return type as NormaliserName;
    throw unsupported(
      name,
      "normalizer",
      step,
      "is none of NFC, NFD, NFKC, NFKD, Lowercase, and SentencePiece's spaces",
    );
  });
}

/**
 * How spaces of pieces are written when tokens were found; undefined where
 * normalisation does that.
 *
 * @throws {UnsupportedError} for words that are cut in another way
 */
export function metaspaceOf(
  { pre_tokenizer: preTokenizer }: JsonObject,
  normalizers: readonly NormaliserName[],
  name: string,
): Metaspace | undefined {
  const cuts = stepsOf(preTokenizer);
  // Normalisation has left nothing to be cut by this.
  const isNothing = ({ type, pattern }: JsonObject) =>
    type === "Split" && isObject(pattern) && pattern.String === " " &&
    normalizers.includes("Replace");
  const [cut, ...more] = cuts.filter((cut) => !isNothing(cut));
  if (cut === undefined) return undefined;
  const { replacement, prepend_scheme, add_prefix_space, split } = cut;
  const prepend = prepend_scheme ??
    (add_prefix_space === false ? "never" : "always");
  const isMetaspace = cut.type === "Metaspace" && replacement === SPACE &&
    (prepend === "always" || prepend === "first" || prepend === "never");
  if (!isMetaspace || more.length > 0) {
    throw unsupported(
      name,
      "pre_tokenizer",
      preTokenizer,
      "is not SentencePiece's",
    );
  }
  return { prepend, split: split !== false };
}

/**
 * The value of `tokenizer.ggml.pre`: llama.cpp's name for how texts are cut into words.
 *
 * @throws {UnsupportedError} where it has no name here
 */
export function pretokenizerOf(
  { pre_tokenizer: preTokenizer }: JsonObject,
  ignoreMerges: boolean,
  name: string,
): { name: string; ignoreMerges: boolean } {
  const steps = stepsOf(preTokenizer);
  const last = steps.pop();
  if (last?.type === "ByteLevel" && last.add_prefix_space !== true) {
    const cuts: (string | undefined)[] = steps.map((step) =>
      cutOf(step, steps.length === 1)
    );
    if (last.use_regex !== false) cuts.push(gpt2Cut);
    const known = cuts.every((cut) => cut !== undefined) &&
      pretokenizerWith(cuts, ignoreMerges);
    if (known) return known;
  }
  throw unsupported(
    name,
    "pre_tokenizer",
    preTokenizer,
    "is none of those that tokenizer.ggml.pre has names for",
  );
}

/** The pattern that cuts texts as a step does. */
function cutOf(step: JsonObject, isAlone: boolean): string | undefined {
  const { type, behavior, invert } = step;
  if (type === "Digits") {
    return step.individual_digits === true ? "\\p{N}" : "\\p{N}+";
  }
  // What such a pattern leaves out would be lost; those that are known leave out nothing.
  const isWhole = behavior === "Isolated" && invert !== true ||
    behavior === "Removed" && invert === true && isAlone;
  const pattern = isObject(step.pattern) ? step.pattern.Regex : undefined;
  return type === "Split" && isWhole && typeof pattern === "string"
    ? pattern
    : undefined;
}

/** The special tokens that are put before and behind a text. */
export interface Frame {
  readonly first?: string;
  readonly last?: string;
}

/**
 * What the post-processor puts around a single text.
 *
 * @throws {UnsupportedError} for more than a token at an end
 */
export function frameOf(
  { post_processor: postProcessor }: JsonObject,
  name: string,
): Frame {
  let frame: Frame = {};
  for (const step of stepsOf(postProcessor)) {
    const { cls, sep, single } = step;
    if (Array.isArray(cls) && Array.isArray(sep)) {
      frame = { first: textOf(cls[0]), last: textOf(sep[0]) };
    }
    if (step.type !== "TemplateProcessing" || !Array.isArray(single)) continue;
    const parts = single.filter(isObject);
    const middle = parts.findIndex((part) => part.Sequence !== undefined);
    const texts = parts.map(({ SpecialToken: token }) =>
      isObject(token) ? textOf(token.id) : undefined
    );
    const before = texts.slice(0, Math.max(0, middle));
    const behind = texts.slice(middle + 1);
    if (before.length > 1 || behind.length > 1) {
      throw unsupported(
        name,
        "post_processor",
        single,
        "puts more than one token at an end of a text, of which GGUF has no key",
      );
    }
    frame = { first: before[0], last: behind[0] };
  }
  return frame;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
