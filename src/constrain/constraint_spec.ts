/** What a text may be held to, and what that is in the constraint's module. */
import { LimitError, UsageError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { compileGbnf } from "./gbnf.ts";
import {
  type JsonSchema,
  plainSchema,
  type SchemaPart,
} from "./json_schema.ts";
import type { Program } from "./room.ts";

/** What a text is held to. */
export type ConstraintSpec =
  /** JSON of a schema */
  | { readonly schema: JsonSchema }
  /** Any JSON object */
  | { readonly json: true }
  /** A grammar in llama.cpp's GBNF, whose rule `root` is the text */
  | { readonly grammar: string }
  /** A regular expression that the whole text matches */
  | { readonly regex: string }
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

/** What may stand between the parts of a JSON text: as llama.cpp's, so that no text is spaces for ever. */
const jsonSpace = "\\x20|\\n{1,2}[ \\t]{0,20}";

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
    const gbnf = compileGbnf(spec.grammar, (text) => {
      const ids = tokenizer.encode(text, {
        addSpecial: false,
        parseSpecial: true,
      });
      return ids.length === 1 ? ids[0] : undefined;
    });
    return { key: `gbnf ${spec.grammar}`, program: { gbnf }, parts: [] };
  }
  const { lark, parts } = larkOf(spec, tokenizer);
  if (lark.length > mostCharacters) {
    throw new LimitError(
      `Cannot constrain the text: what it is to be has ${lark.length} characters, the limit is ${mostCharacters}`,
    );
  }
  return { key: lark, program: { lark }, parts };
}

/** JSON of a schema, as a grammar. */
export function schemaProgram(schema: JsonSchema): Program {
  return { lark: `start: ${jsonOf(schema)}` };
}

function larkOf(
  spec: Exclude<ConstraintSpec, { readonly grammar: string }>,
  tokenizer: Tokenizer,
): { readonly lark: string; readonly parts: readonly SchemaPart[] } {
  if ("structures" in spec) return structuresOf(spec, tokenizer);
  const { text, parts } = contentOf(
    "json" in spec ? { schema: { type: "object" } } : spec,
  );
  return { lark: `start: ${text}`, parts };
}

function contentOf(
  content: Structure["content"],
): { readonly text: string; readonly parts: readonly SchemaPart[] } {
  if ("regex" in content) return { text: regexOf(content.regex), parts: [] };
  const { schema, parts } = plainSchema(content.schema);
  return { text: jsonOf(schema), parts };
}

function jsonOf(schema: JsonSchema): string {
  if (schema === false) return "%json false";
  const settings = { "x-guidance": { whitespace_pattern: jsonSpace } };
  const object = schema === true ? {} : schema;
  return `%json ${JSON.stringify({ ...object, ...settings })}`;
}

/** A regex as Lark writes it; the whole text is matched, so that its ends need not be said. */
function regexOf(regex: string): string {
  const whole = regex.replace(/^\^/, "").replace(/(?<!\\)((?:\\\\)*)\$$/, "$1");
  if (whole === "") return '""';
  const escaped = whole.replaceAll(
    /\\[^]|[/\n\r\t]/g,
    (text) =>
      ({ "/": "\\/", "\n": "\\n", "\r": "\\r", "\t": "\\t" })[text] ?? text,
  );
  return `/${escaped}/`;
}

function structuresOf(
  { structures, least = 0, most, freeText = true }: Structures,
  tokenizer: Tokenizer,
): { readonly lark: string; readonly parts: readonly SchemaPart[] } {
  if (structures.length === 0) {
    throw new UsageError("Cannot constrain the text: there are no structures");
  }
  const begins = structures.map(({ begin }) => beginOf(begin, tokenizer));
  const literals = begins.flatMap(({ special, text }) =>
    special === undefined ? [JSON.stringify(text)] : []
  );
  const contents = structures.map(({ content }) => contentOf(content));
  const rules = structures.map(({ end }, i) => {
    const { special, text } = begins[i];
    const before = freeText && special !== undefined ? "FREE? " : "";
    const head = special !== undefined
      ? `${before}<[${special}]> ${text && JSON.stringify(text)}`
      : freeText
      ? `head_${i}`
      : JSON.stringify(text);
    const lazy = special === undefined && freeText
      ? `head_${i}[lazy]: /(?s:.*)/ ${JSON.stringify(text)}\n`
      : "";
    const tail = end && JSON.stringify(end);
    return `${lazy}structure_${i}: ${head} ${contents[i].text} ${tail}\n`;
  });
  const any = structures.map((_, i) => `structure_${i}`).join(" | ");
  const times = most === undefined ? `{${least},}` : `{${least},${most}}`;
  // Text in which no structure begins.
  const free = literals.length > 0
    ? `/(?s:.+)/ & ~(/(?s:.*)/ (${literals.join(" | ")}) /(?s:.*)/)`
    : "/(?s:.+)/";
  const lark = `start: (${any})${times}${freeText ? " FREE?" : ""}\n` +
    rules.join("") + (freeText ? `FREE: ${free}\n` : "");
  return { lark, parts: contents.flatMap(({ parts }) => parts) };
}

/** What a structure begins with: a special token, text, or that and then text. */
function beginOf(
  begin: string,
  tokenizer: Tokenizer,
): { readonly special?: number; readonly text: string } {
  const ids = tokenizer.encode(begin, {
    addSpecial: false,
    parseSpecial: true,
  });
  const isSpecial = (id: number) => tokenizer.isSpecial(id);
  if (!ids.some(isSpecial)) {
    if (begin !== "") return { text: begin };
    throw new UsageError(
      "Cannot constrain the text: a structure begins with nothing",
    );
  }
  const [special, ...rest] = ids;
  if (!isSpecial(special) || rest.some(isSpecial)) {
    throw new UsageError(
      `Cannot constrain the text: ${
        JSON.stringify(begin)
      } has a special token that does not begin it, or several`,
    );
  }
  return { special, text: begin.slice(tokenizer.pieceText(special).length) };
}
