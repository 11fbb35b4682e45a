/**
 * Hugging Face's `tokenizer.json` with a BPE model: byte-level, as GPT-2's, or
 * with byte tokens, as SentencePiece's.
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject } from "../formats/json.ts";
import type { TextRules } from "../tokenizer/text_rules.ts";
import { TokenType } from "../tokenizer/vocabulary.ts";
import {
  type Frame,
  frameOf,
  metaspaceOf,
  normalizersOf,
  pretokenizerOf,
} from "./text_rules_of.ts";

/** A token that is found in a text before anything else. */
export interface AddedToken {
  readonly id: number;
  readonly text: string;
  /** Whether it is no text of its own, but says something about the text */
  readonly special: boolean;
}

/** What a file says of its tokenizer; `first` and `last` are put around every text by the post-processor. */
export interface TokenizerJson extends Frame {
  /** Text of each id; `undefined` where no token has it */
  readonly tokens: readonly (string | undefined)[];
  /** Merges, the most important first, each two texts */
  readonly merges: readonly (readonly [string, string])[];
  /** Tokens that were added to the model's, which may be among those */
  readonly added: readonly AddedToken[];
  /** The value of `tokenizer.ggml.pre`; `undefined`: SentencePiece's way, with byte tokens */
  readonly pre?: string;
  /** Text of the unknown token */
  readonly unk?: string;
  /** Whether a space comes before the first word */
  readonly addSpacePrefix: boolean;
  /** What GGUF has no keys for */
  readonly rules: TextRules;
}

/** A vocabulary that no model needs: ids beyond would only take memory. */
const mostTokens = 1 << 22;

/**
 * Reads a tokenizer. `name` is its file's, for messages.
 *
 * @throws {FormatError} where the file contradicts itself
 * @throws {UnsupportedError} where the model is no BPE, or its words are cut in a way that GGUF has no name for
 */
export function readTokenizerJson(
  json: JsonObject,
  name: string,
): TokenizerJson {
  const damaged = (what: string) =>
    new FormatError(`Cannot read ${name}: ${what}`);
  const { model, added_tokens: addedTokens = [] } = json;
  if (!isObject(model)) throw damaged("it has no model");
  // Files of before the key was written are BPE where they have merges.
  const type = model.type ?? (model.merges ? "BPE" : "missing");
  if (type !== "BPE") {
    throw new UnsupportedError(
      `Cannot convert ${name}: its model is ${
        printable(String(type))
      }, known is BPE`,
    );
  }
  for (
    const key of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]
  ) {
    if (!model[key]) continue;
    throw new UnsupportedError(
      `Cannot convert ${name}: its model has ${key} ${
        printable(JSON.stringify(model[key]))
      }, of which GGUF has no key`,
    );
  }
  if (!isObject(model.vocab)) throw damaged("its model has no vocab");
  if (!Array.isArray(addedTokens)) throw damaged("added_tokens is no array");
  const tokens: (string | undefined)[] = [];
  const put = (text: string, id: unknown) => {
    if (!isId(id)) {
      throw damaged(
        `token ${printable(text)} has id ${
          printable(String(id))
        }, ids are whole numbers below ${mostTokens}`,
      );
    }
    if (tokens[id] !== undefined && tokens[id] !== text) {
      throw damaged(
        `id ${id} is both ${printable(tokens[id])} and ${printable(text)}`,
      );
    }
    tokens[id] = text;
  };
  for (const [text, id] of Object.entries(model.vocab)) put(text, id);
  const added = addedTokens.map((token): AddedToken => {
    if (!isObject(token) || typeof token.content !== "string") {
      throw damaged("an added token has no content");
    }
    const { id, content, special } = token;
    put(content, id);
    return { id: id as number, text: content, special: special === true };
  });
  const merges = readMerges(model.merges, damaged);
  const common = {
    tokens: Array.from(tokens),
    merges,
    added,
    unk: typeof model.unk_token === "string" ? model.unk_token : undefined,
    ...frameOf(json, name),
  };
  const flagged = flaggedIds(addedTokens.filter(isObject));
  if (model.byte_fallback !== true) {
    const ignoreMerges = model.ignore_merges === true;
    const pre = pretokenizerOf(json, ignoreMerges, name);
    const normalizers = normalizersOf(json, "bytes", name);
    return {
      ...common,
      pre: pre.name,
      addSpacePrefix: false,
      rules: {
        normalizers: normalizers.length > 0 ? normalizers : undefined,
        ignoreMerges: pre.ignoreMerges === ignoreMerges
          ? undefined
          : ignoreMerges,
        added: flagged,
      },
    };
  }
  const normalizers = normalizersOf(json, "pieces", name);
  const metaspace = metaspaceOf(json, normalizers, name);
  const prepends = normalizers.includes("Prepend");
  // What GGUF's own keys say is said by these alone.
  const isUsual = !metaspace && !flagged.normalized &&
    normalizers.includes("Replace") &&
    normalizers.length === (prepends ? 2 : 1);
  return {
    ...common,
    addSpacePrefix: prepends ||
      metaspace !== undefined && metaspace.prepend !== "never",
    rules: {
      normalizers: isUsual ? undefined : normalizers,
      metaspace,
      added: flagged,
    },
  };
}

/** Ids of added tokens that are found in a special way, where there are any. */
function flaggedIds(
  tokens: readonly JsonObject[],
): TextRules["added"] & object {
  const idsWith = (flag: string) => {
    const ids = tokens.filter((token) => token[flag] === true)
      .map(({ id }) => id as number);
    return ids.length > 0 ? ids : undefined;
  };
  return {
    lstrip: idsWith("lstrip"),
    rstrip: idsWith("rstrip"),
    singleWord: idsWith("single_word"),
    normalized: idsWith("normalized"),
  };
}

/** Merges are written as `left right`, or, since tokens may have spaces, as two texts. */
function readMerges(
  merges: unknown,
  damaged: (what: string) => FormatError,
): [string, string][] {
  if (!Array.isArray(merges)) throw damaged("its model has no merges");
  return merges.map((merge, rank) => {
    const parts = typeof merge === "string" ? merge.split(" ") : merge;
    if (
      !Array.isArray(parts) || parts.length !== 2 ||
      !parts.every((part) => typeof part === "string" && part !== "")
    ) {
      throw damaged(`merge ${rank} is not two texts`);
    }
    return parts as [string, string];
  });
}

/**
 * A score for each token by its rank: SentencePiece merges the pair whose piece
 * has the highest score, where merges here have an order. Tokens that no merge
 * makes come first or never, so that theirs does not matter.
 */
export function scoresOf(
  { tokens, merges }: Pick<TokenizerJson, "tokens" | "merges">,
): number[] {
  const ranks = new Map<string, number>();
  merges.forEach(([left, right], rank) => {
    const text = left + right;
    if (!ranks.has(text)) ranks.set(text, rank);
  });
  return tokens.map((text) => -(ranks.get(text ?? "") ?? merges.length));
}

/**
 * Whether scores by rank say all that merges do: each way to make a token of
 * two is listed, and those of one token follow one another.
 */
export function isScoreOrder(
  { tokens, merges, added }: Pick<TokenizerJson, "tokens" | "merges" | "added">,
): boolean {
  const known = new Set(tokens);
  const ways = new Map<string, number>();
  let before: string | undefined;
  for (const [left, right] of merges) {
    const text = left + right;
    const count = ways.get(text) ?? 0;
    if (count > 0 && text !== before) return false;
    ways.set(text, count + 1);
    before = text;
  }
  const apart = new Set(added.map(({ text }) => text));
  return tokens.every((text) => {
    if (text === undefined || apart.has(text) && !ways.has(text)) return true;
    if (/^<0x[0-9A-F]{2}>$/.test(text)) return true;
    let splits = 0;
    let end = 0;
    for (const character of text) {
      end += character.length;
      if (end === text.length) break;
      if (known.has(text.slice(0, end)) && known.has(text.slice(end))) splits++;
    }
    return splits === (ways.get(text) ?? 0);
  });
}

/** What each token is for. */
export function typesOf(
  { tokens, added, pre, unk }: TokenizerJson,
): TokenType[] {
  const types = tokens.map((text): TokenType => {
    if (text === undefined) return TokenType.unused;
    if (pre === undefined && text === unk) return TokenType.unknown;
    const isByte = pre === undefined && /^<0x[0-9A-F]{2}>$/.test(text);
    return isByte ? TokenType.byte : TokenType.normal;
  });
  for (const { id, special } of added) {
    if (types[id] === TokenType.unknown) continue;
    types[id] = special ? TokenType.control : TokenType.userDefined;
  }
  return types;
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 &&
    (value as number) < mostTokens;
}
