/** What a text may be held to, and what that is in the constraint's module. */
import { LimitError, UsageError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { compileGbnf } from "./gbnf.ts";
import type { JsonSchema, SchemaPart } from "./json_schema.ts";
import { larkJson } from "./lark.ts";
import type { Program } from "./room.ts";
import { larkOfPattern, type TextPattern } from "./text_pattern.ts";

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

/** A spec as the module takes it. */
export interface ConstraintProgram {
  /** Stands for the program */
  readonly key: string;
  readonly program: Program;
  /** The parts of its schema, to find the one that is refused */
  readonly parts: readonly SchemaPart[];
}

/** Most characters of a schema or a regex. */
const mostCharacters = 2 ** 20;

/**
 * What a spec is in the module.
 *
 * @throws as `makeConstraint` does, for what can be told without the module
 */
export function programOf(
  spec: ConstraintSpec,
  tokenizer: Tokenizer,
): ConstraintProgram {
  if ("grammar" in spec) {
    const gbnf = compileGbnf(spec.grammar, tokenizer.vocabSize, (text) => {
      const ids = tokenizer.encode(text, {
        addSpecial: false,
        parseSpecial: true,
      });
      return ids.length === 1 ? ids[0] : undefined;
    });
    return { key: `gbnf ${spec.grammar}`, program: { gbnf }, parts: [] };
  }
  const { lark, parts } = larkOfPattern(patternOf(spec), tokenizer);
  if (lark.length > mostCharacters) {
    throw new LimitError(
      `Cannot constrain the text: what it is to be has ${lark.length} characters, the limit is ${mostCharacters}`,
    );
  }
  return { key: lark, program: { lark }, parts };
}

/** JSON of a schema, as a grammar. */
export function schemaProgram(schema: JsonSchema): Program {
  return { lark: `start: ${larkJson(schema)}` };
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
