/** What the options of a text say that it is held to. */
import * as v from "valibot";
import { UsageError } from "../errors.ts";
import type { Checked, SchemaOf } from "../options.ts";
import type { ConstraintSpec, Structures } from "./constraint_spec.ts";
import type { JsonSchema } from "./json_schema.ts";
import type { TextPattern } from "./text_pattern.ts";

const isJsonSchema = (value: unknown) =>
  typeof value === "boolean" ||
  typeof value === "object" && value !== null && !Array.isArray(value);

const content = v.union([
  v.strictObject({ schema: v.custom<JsonSchema>(isJsonSchema) }),
  v.strictObject({ regex: v.string() }),
], "{ schema } or { regex }");
const count = v.pipe(
  v.number("a whole number"),
  v.integer("a whole number"),
  v.minValue(0, "a whole number from 0 up"),
);
const structures = v.strictObject({
  structures: v.array(
    v.strictObject({ begin: v.string(), content, end: v.string() }),
    "a list of structures",
  ),
  least: v.optional(count),
  most: v.optional(count),
  freeText: v.optional(v.boolean("true or false")),
}, "an object with structures");

/** What a text is held to; one of them may be given. */
export const constraintOptions = {
  /** A JSON schema: the text is JSON that it allows. What of it is not supported is refused. */
  schema: {
    schema: v.custom(
      isJsonSchema,
      "a JSON schema: an object, true or false",
    ) as SchemaOf<JsonSchema>,
    flag: "-j, --json-schema <schema>",
    description: "hold the text to JSON that this schema allows",
  },
  /** The text is a JSON object. */
  json: {
    type: "boolean",
    default: false,
    description: "hold the text to a JSON object, whatever is in it",
  },
  /** A grammar in llama.cpp's GBNF, whose rule `root` is the text. */
  grammar: {
    type: "string",
    flag: "--grammar <grammar>",
    description: "hold the text to a grammar in GBNF, as llama.cpp has it",
  },
  /** A regular expression that the whole text matches, without lookaround and references back. */
  regex: {
    type: "string",
    description: "hold the text to a regular expression, from end to end",
  },
  /** What the text is made of,. */
  pattern: {
    schema: v.custom(
      (value) => typeof value === "object" && value !== null,
      "a pattern of a text",
    ) as SchemaOf<TextPattern>,
    description: "hold the text to a pattern of schemas and fixed words",
  },
  /** Structures, such as tool calls, that may come in the text: each is held to a schema, or a regex, once it has begun. */
  structured: {
    schema: structures as unknown as SchemaOf<Structures>,
    description:
      "hold parts of the text, such as tool calls, to schemas once they have begun",
  },
} as const;

/**
 * What options hold a text to, if anything.
 *
 * @throws {UsageError} where they hold it to several things
 */
export function constraintOf(
  { schema, json, grammar, regex, pattern, structured }: Checked<
    typeof constraintOptions
  >,
): ConstraintSpec | undefined {
  const given = {
    ...schema !== undefined && { schema: { schema } },
    ...json && { json: { json } },
    ...grammar !== undefined && { grammar: { grammar } },
    ...regex !== undefined && { regex: { regex } },
    ...pattern && { pattern },
    ...structured && { structured },
  };
  const names = Object.keys(given);
  if (names.length > 1) {
    throw new UsageError(
      `Cannot hold a text to ${names.join(" and ")}: give one of them`,
    );
  }
  return Object.values(given)[0];
}
