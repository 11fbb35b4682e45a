/**
 * The flags that hold a text to a JSON schema or a grammar, with llama.cpp's
 * names.
 *
 * @module
 */
import { type GenerateOptions, textOptions } from "../mod.ts";
import { readText } from "./input.ts";
import { BadFlags, type FlagsOf, type FlagTable } from "./option.ts";

/** What a text is held to. */
export const constraintFlags = {
  jsonSchema: { ...textOptions.schema, schema: undefined, type: "string" },
  jsonSchemaFile: {
    type: "string",
    flag: "-jf, --json-schema-file <file>",
    description: "the same, from a file",
  },
  grammar: textOptions.grammar,
  grammarFile: {
    type: "string",
    flag: "--grammar-file <file>",
    description: "the same, from a file",
  },
} as const satisfies FlagTable;

type ConstraintFlags = FlagsOf<typeof constraintFlags>;

/**
 * What the flags hold a text to.
 *
 * @throws {UsageError} where that is several things, a file that cannot be read, or no JSON
 */
export async function constraintOptionsOf(
  flags: ConstraintFlags,
): Promise<Pick<GenerateOptions, "schema" | "grammar">> {
  const { jsonSchema, jsonSchemaFile, grammar, grammarFile } = flags;
  const names = Object.entries({
    "--json-schema": jsonSchema,
    "--json-schema-file": jsonSchemaFile,
    "--grammar": grammar,
    "--grammar-file": grammarFile,
  }).flatMap(([name, value]) => value === undefined ? [] : [name]);
  if (names.length > 1) {
    throw new BadFlags(
      `Cannot hold the text to ${names.join(" and ")}: give one of them`,
    );
  }
  const text = jsonSchema ??
    (jsonSchemaFile && await readText(jsonSchemaFile));
  if (text !== undefined) return { schema: parseSchema(text, names[0]) };
  const rules = grammar ?? (grammarFile && await readText(grammarFile));
  return rules === undefined ? {} : { grammar: rules };
}

function parseSchema(text: string, name: string): GenerateOptions["schema"] {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BadFlags(
      `Cannot use ${name}: it is no JSON (${(error as Error).message})`,
    );
  }
}
