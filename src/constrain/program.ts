/** What a text is held to, in the terms of the constraint's module. */
import { LimitError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type ConstraintSpec, patternOf } from "./constraint_spec.ts";
import { compileGbnf } from "./gbnf.ts";
import type { JsonSchema, SchemaPart } from "./json_schema.ts";
import { larkJson } from "./lark.ts";
import type { Program } from "./room.ts";
import { larkOfPattern } from "./text_pattern.ts";

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
