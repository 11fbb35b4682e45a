/** What a text may be held to. */
import { UsageError } from "../errors.ts";
import type { JsonSchema } from "./json_schema.ts";
import type { TextPattern } from "./text_pattern.ts";

/** What a text is held to. */
export type ConstraintSpec =
  /** JSON of a schema, what a regular expression matches, and what is made of these */
  | TextPattern
  /** Any JSON object */
  | { readonly json: true }
  /** A grammar in llama.cpp's GBNF, whose rule `root` is the text */
  | { readonly grammar: string }
  /** Free text with structures in it */
  | Structures;

/** A part of a text that begins in a certain way, and is then held to something. */
export interface Structure {
  /** What it begins with; special tokens that are spelled out are such tokens */
  readonly begin: string;
  /** What follows */
  readonly content: { readonly schema: JsonSchema } | {
    readonly regex: string;
  };
  /** What it ends with */
  readonly end: string;
}

/** A text in which structures may come, as tool calls do. */
export interface Structures {
  readonly structures: readonly Structure[];
  /** The fewest of them; 0 where left out */
  readonly least?: number;
  /** The most of them; as many as the model likes where left out */
  readonly most?: number;
  /** Whether other text may stand around them; true where left out */
  readonly freeText?: boolean;
}

/** What a text that is held to something is made of. */
export function patternOf(
  spec: Exclude<ConstraintSpec, { readonly grammar: string }>,
): TextPattern {
  if ("structures" in spec) return patternOfStructures(spec);
  return "json" in spec ? { schema: { type: "object" } } : spec;
}

function patternOfStructures(
  { structures, least, most, freeText = true }: Structures,
): TextPattern {
  if (structures.length === 0) {
    throw new UsageError("Cannot constrain the text: there are no structures");
  }
  const begins = structures.map(({ begin }) => begin);
  if (begins.includes("")) {
    throw new UsageError(
      "Cannot constrain the text: a structure begins with nothing",
    );
  }
  const any = structures.map(({ begin, content, end }) => ({
    all: [
      freeText ? { upTo: begin, without: begins } : { text: begin },
      content,
      { text: end },
    ],
  }));
  const repeat = { repeat: { any }, least, most };
  return freeText ? { all: [repeat, { free: begins }] } : repeat;
}
