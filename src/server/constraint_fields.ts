/** Fields by which llama.cpp's clients say what an answer is held to. */
import * as v from "valibot";
import { constraintOptions } from "../constrain/options.ts";
import type { Present } from "./body.ts";
import { text } from "./fields.ts";
import type { GenerateOptions } from "../generate/generate.ts";
import { schemaOf } from "../options.ts";

/** The fields, for a schema of a body. */
export const constraintFields = {
  json_schema: v.nullish(
    schemaOf(constraintOptions.schema) as v.GenericSchema<
      boolean | Readonly<Record<string, unknown>>
    >,
  ),
  grammar: text,
};

/** What a body holds an answer to; an empty grammar is none. */
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
    ...grammar && { grammar },
  };
}
