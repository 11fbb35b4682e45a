/** Fields that say what an answer is held to, by llama.cpp's names. */
import * as v from "valibot";
import type { JsonSchema } from "../constrain/json_schema.ts";
import { constraintOptions } from "../constrain/options.ts";
import type { Present } from "./body.ts";
import { text } from "./fields.ts";
import type { GenerateOptions } from "../generate/generate.ts";
import { schemaOf } from "../options.ts";

/** A JSON schema. */
export const schemaField = v.nullish(
  schemaOf(constraintOptions.schema) as v.GenericSchema<JsonSchema>,
);

/** The fields, for a schema of a body. */
export const constraintFields = {
  json_schema: schemaField,
  /** An empty one is none. */
  grammar: v.pipe(text, v.transform((grammar) => grammar || undefined)),
};

/** What a body holds an answer to. */
export function constraintFieldOptions(
  { json_schema, grammar }: Present<
    {
      [Name in keyof typeof constraintFields]: v.InferOutput<
        (typeof constraintFields)[Name]
      >;
    }
  >,
): Pick<GenerateOptions, "schema" | "grammar"> {
  return {
    ...json_schema !== undefined && { schema: json_schema },
    ...grammar !== undefined && { grammar },
  };
}
