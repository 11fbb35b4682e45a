/** What OpenAI's and llama.cpp's clients hold an answer to. */
import * as v from "valibot";
import type { TextPattern } from "../../constrain/text_pattern.ts";
import { constraintFields, schemaField } from "../constraint_fields.ts";
import { missing, RequestError } from "../errors.ts";
import { openObject } from "../fields.ts";
import { shown } from "../../options.ts";

/** Fields of a request that say what the answer is to be. */
export const formatFields = {
  ...constraintFields,
  response_format: v.nullish(
    openObject({
      type: v.string("a text such as json_schema"),
      json_schema: v.nullish(
        openObject({ schema: schemaField }, "an object { schema }"),
      ),
      schema: schemaField,
    }, "an object { type }"),
  ),
};

/** What a request says of that; null counts as nothing. */
type FormatBody = {
  readonly [Name in keyof typeof formatFields]?: NonNullable<
    v.InferOutput<(typeof formatFields)[Name]>
  >;
};

/**
 * What is said instead of calls of tools; undefined where that is free.
 *
 * @throws {RequestError} for a form that is not known, and for several
 */
export function saidOf(
  { response_format, json_schema, grammar }: FormatBody,
): TextPattern | undefined {
  const said = response_format && formatOf(response_format);
  const given = {
    ...said && { response_format },
    ...json_schema !== undefined && { json_schema },
    ...grammar !== undefined && { grammar },
  };
  const names = Object.keys(given);
  if (names.length > 1) {
    throw new RequestError(
      400,
      `Cannot hold an answer to ${names.join(" and ")}: give one of them`,
      { param: names[1] },
    );
  }
  return json_schema === undefined ? said : { schema: json_schema };
}

function formatOf(
  format: NonNullable<FormatBody["response_format"]>,
): TextPattern | undefined {
  switch (format.type) {
    case "text":
      return undefined;
    case "json_object":
      return { schema: format.schema ?? { type: "object" } };
    case "json_schema": {
      const schema = format.json_schema?.schema ?? format.schema;
      if (schema !== undefined && schema !== null) return { schema };
      return missing("response_format.json_schema.schema");
    }
    default:
      throw new RequestError(
        400,
        `Cannot use response_format.type ${
          shown(format.type)
        }: it is text, json_object or json_schema`,
        { param: "response_format.type" },
      );
  }
}
