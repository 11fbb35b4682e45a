/** Patterns of texts: fixed words, JSON, regular expressions, and what is free between them. */
import {
  type JsonSchema,
  plainSchema,
  type SchemaPart,
} from "./json_schema.ts";
import { larkJson, larkRegex, larkTokens, larkWords } from "./lark.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What a text, or a part of one, is made of. Special tokens that are spelled out in it are such tokens. */
export type TextPattern =
  /** These words */
  | { readonly text: string }
  /** JSON that a schema allows */
  | { readonly schema: JsonSchema }
  /** What a regular expression matches */
  | { readonly regex: string }
  /** These, one after another */
  | { readonly all: readonly TextPattern[] }
  /** One of these */
  | { readonly any: readonly TextPattern[] }
  /** This several times: from `least`, 0 where left out, to `most`, without end where left out */
  | {
    readonly repeat: TextPattern;
    readonly least?: number;
    readonly most?: number;
  }
  | TextUpTo
  /** Any text, or none, without these words in it, and that does not begin with others */
  | {
    readonly free: readonly string[];
    readonly notFirst?: readonly string[];
  };

/** Any text up to where certain words come first, and they. */
export interface TextUpTo {
  /** The words */
  readonly upTo: string;
  /** Words that are not in it */
  readonly without?: readonly string[];
  /** The fewest characters before the words; 0 where left out */
  readonly least?: number;
  /** The most; any number where left out */
  readonly most?: number;
}

/** A pattern as Lark, and the parts of its schemas, to find the one that is refused. */
export function larkOfPattern(
  pattern: TextPattern,
  tokenizer: Tokenizer,
): { readonly lark: string; readonly parts: readonly SchemaPart[] } {
  const writer = new PatternWriter(tokenizer);
  const start = writer.write(pattern) || '""';
  return {
    lark: [`start: ${start}`, ...writer.rules].join("\n"),
    parts: writer.parts,
  };
}

class PatternWriter {
  readonly rules: string[] = [];
  readonly parts: SchemaPart[] = [];
  /** Rules by what they say, their numbers left out */
  readonly #known = new Map<string, string>();

  constructor(readonly tokenizer: Tokenizer) {}

  /** The pattern as an expression; "" for what is always empty. */
  write(pattern: TextPattern): string {
    if ("text" in pattern) return this.#words(pattern.text);
    if ("schema" in pattern) {
      const { schema, parts } = plainSchema(pattern.schema);
      this.parts.push(...parts);
      return larkJson(schema);
    }
    if ("regex" in pattern) return larkRegex(pattern.regex);
    if ("all" in pattern) {
      return pattern.all.map((each) => this.write(each)).filter(Boolean)
        .join(" ");
    }
    if ("any" in pattern) return this.#any(pattern.any);
    if ("repeat" in pattern) {
      const { repeat, least = 0, most } = pattern;
      const written = this.write(repeat);
      if (written === "" || most === 0) return "";
      return `(${written}){${least},${most ?? ""}}`;
    }
    if ("upTo" in pattern) return this.#upTo(pattern);
    return this.#free(pattern.free, pattern.notFirst);
  }

  #words(text: string): string {
    return larkWords(text, this.tokenizer)
      .map((word) =>
        typeof word === "number" ? larkTokens([word]) : JSON.stringify(word)
      ).join(" ");
  }

  #any(patterns: readonly TextPattern[]): string {
    const all = patterns.map((each) => this.write(each));
    const written = all.filter(Boolean);
    if (written.length === 0) return "";
    return `(${written.join(" | ")})${written.length < all.length ? "?" : ""}`;
  }

  #upTo(
    { upTo: end, without = [], least = 0, most }: TextUpTo,
  ): string {
    const isBounded = least > 0 || most !== undefined;
    const some = isBounded ? `/(?s:.{${least},${most ?? ""}})/` : "/(?s:.*)/";
    const [first, ...rest] = larkWords(end, this.tokenizer);
    const behind = rest.map((word) =>
      typeof word === "number" ? larkTokens([word]) : JSON.stringify(word)
    ).join(" ");
    if (typeof first === "number") {
      const before = isBounded
        ? `${this.#rule(`CHUNK_${this.rules.length}: ${some} & /(?s:.+)/`)}${
          least === 0 ? "?" : ""
        }`
        : this.#free([...without, this.tokenizer.pieceText(first)]);
      return `${before} ${larkTokens([first])} ${behind}`;
    }
    const head = this.#rule(
      `part_${this.rules.length}[lazy]: ${some} ${JSON.stringify(first)}`,
    );
    const others = isBounded ? "" : this.#others([...without, end]);
    const before = others === ""
      ? ""
      : `(${this.#chunk([...without, end])}? ${others})* `;
    return `${before}${head} ${behind}`;
  }

  /** Text, and special tokens in it. */
  #free(without: readonly string[], notFirst: readonly string[] = []): string {
    const first = this.#chunk(without, notFirst);
    const others = this.#others(without);
    if (others === "") return `${first}?`;
    const next = notFirst.length === 0 ? first : this.#chunk(without);
    return `${first}? (${others} ${next}?)*`;
  }

  /** Text that is not empty. It ends where it must: behind it comes no other. */
  #chunk(
    without: readonly string[],
    notFirst: readonly string[] = [],
  ): string {
    const literals = (texts: readonly string[]) =>
      texts.map((text) => larkWords(text, this.tokenizer)[0])
        .filter((word) => typeof word === "string")
        .map((word) => JSON.stringify(word)).join(" | ");
    const any = "/(?s:.*)/";
    const inside = literals(without);
    const ahead = literals(notFirst);
    return this.#rule(
      `CHUNK_${this.rules.length}: /(?s:.+)/` +
        (inside && ` & ~(${any} (${inside}) ${any})`) +
        (ahead && ` & ~((${ahead}) ${any})`),
    );
  }

  /** Special tokens that none of these texts begins with. */
  #others(without: readonly string[]): string {
    const first = new Set(
      without.map((text) => larkWords(text, this.tokenizer)[0]),
    );
    return larkTokens(
      specialsOf(this.tokenizer).filter((id) => !first.has(id)),
    );
  }

  /** Adds a rule, unless it is there under another number; gives its name. */
  #rule(rule: string): string {
    const body = rule.replace(/_\d+/, "");
    const known = this.#known.get(body) ?? rule;
    if (known === rule) this.rules.push(rule);
    this.#known.set(body, known);
    return known.replace(/[[:].*/s, "");
  }
}

const specials = new WeakMap<Tokenizer, readonly number[]>();

/** Special tokens that may stand within a text. */
function specialsOf(tokenizer: Tokenizer): readonly number[] {
  const known = specials.get(tokenizer);
  if (known) return known;
  const found = Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
    .filter((id) =>
      tokenizer.isSpecial(id) && !tokenizer.isEndOfGeneration(id)
    );
  specials.set(tokenizer, found);
  return found;
}
