/** What a chat's answer is held to, so that the tools that it calls are there, and their arguments as their schemas say. */
import { isObject, type JsonObject } from "../formats/json.ts";
import type { AnswerFormat } from "../tokenizer/answer.ts";
import { ANY_WORD, chunksOf } from "../tokenizer/marker.ts";
import type { TaggedCall, ToolCallFormat } from "../tokenizer/tool_format.ts";
import { CulmError } from "../errors.ts";
import { type JsonSchema, plainSchema } from "./json_schema.ts";
import type { TextPattern } from "./text_pattern.ts";

/** Which tools are to be called. */
export interface ToolDemand {
  /** `auto`: as the model likes; `required`: one at least; a name: that one */
  readonly choice: "auto" | "required" | { readonly name: string };
  /** Whether there may be several calls; where left out, if the model's template knows calls */
  readonly isParallel?: boolean;
  /** Tools whose schemas hold to the letter: what is not supported of others' is left out */
  readonly strict: ReadonlySet<string>;
}

/** Any text that is white space. */
const space: TextPattern = { regex: "[ \\t\\r\\n]{0,8}" };

/** What stands for a word of a marker that differs from call to call. */
const word: TextPattern = { regex: "[A-Za-z0-9_-]{1,40}" };

/**
 * What an answer is held to; undefined where it is held to nothing. Where calls
 * are the model's choice, it may say something else: any text, or what `said`
 * has.
 */
export function answerPattern(
  format: AnswerFormat,
  { choice, strict, ...demand }: ToolDemand,
  said?: TextPattern,
): TextPattern | undefined {
  const { calls, hasChannels } = format;
  const { isParallel = format.knowsCalls } = demand;
  const tools = [...format.tools]
    .filter(([name]) => typeof choice === "string" || name === choice.name)
    .map(([name, schema]) => ({
      name,
      schema: argumentsSchema(schema, strict.has(name)),
    }));
  const isFree = choice === "auto";
  if (!calls || tools.length === 0) {
    if (!said) return undefined;
    return thinking(format, hasChannels ? finalMessage(said) : said);
  }
  if (hasChannels) {
    if (isFree && !said) return undefined;
    const written = isFree && said ? [finalMessage(said)] : [];
    return thinking(format, { any: [...tools.map(channelCall), ...written] });
  }
  const form = new CallForm(calls, tools, isParallel);
  if (isFree && said) {
    return thinking(format, { any: [form.required(), said] });
  }
  if (!isFree) return thinking(format, form.required());
  // Free text has room for reasoning that the model begins by itself.
  return format.reasoning?.isOpen ? thinking(format, form.free()) : form.free();
}

/** What the model may think, and then an answer. */
function thinking(
  { reasoning, hasChannels }: AnswerFormat,
  answer: TextPattern,
): TextPattern {
  if (hasChannels) {
    const thought = {
      all: [
        { text: "<|channel|>analysis<|message|>" },
        { upTo: "<|end|>" },
        { text: "<|start|>assistant" },
      ],
    };
    return { all: [{ repeat: thought, most: 1 }, answer] };
  }
  if (!reasoning) return answer;
  const rest: TextPattern = { all: [{ upTo: reasoning.end }, space] };
  if (reasoning.isOpen) return { all: [rest, answer] };
  const begun = { all: [space, { text: reasoning.begin.trimEnd() }, rest] };
  return { all: [{ repeat: begun, most: 1 }, answer] };
}

/** A tool and the schema of its arguments. */
interface Tool {
  readonly name: string;
  readonly schema: JsonObject;
}

/** The schema of an object with these arguments. */
function argumentsSchema(schema: JsonObject, isStrict: boolean): JsonObject {
  const object: JsonObject = { type: "object", ...schema };
  if (isStrict) return object;
  if (isSupported(object)) return withoutOthers(object);
  const { properties, required } = object;
  const kept = Object.entries(isObject(properties) ? properties : {})
    .map(([name, property]) => [name, isSupported(property) ? property : true]);
  return withoutOthers({
    type: "object",
    properties: Object.fromEntries(kept),
    required,
  });
}

/** Keywords that say of an object which properties it may have, or may say so. */
const othersKeywords = [
  "additionalProperties",
  "patternProperties",
  "unevaluatedProperties",
  "propertyNames",
  "dependencies",
  "dependentRequired",
  "dependentSchemas",
  "minProperties",
  "allOf",
  "anyOf",
  "oneOf",
  "$ref",
];

/**
 * The same schema without arguments that it does not name, unless it says
 * something of those. JSON Schema allows them, and small models make them up
 * without end.
 */
function withoutOthers(schema: JsonObject): JsonObject {
  const { properties, required = [] } = schema;
  const isNamed = isObject(properties) && Array.isArray(required) &&
    required.every((name) => Object.hasOwn(properties, name));
  return isNamed && !othersKeywords.some((keyword) => keyword in schema)
    ? { ...schema, additionalProperties: false }
    : schema;
}

function isSupported(schema: unknown): boolean {
  try {
    plainSchema(schema);
    return true;
  } catch (error) {
    if (error instanceof CulmError) return false;
    throw error;
  }
}

function channelCall({ name, schema }: Tool): TextPattern {
  const header =
    `<|channel|>commentary to=functions.${name} <|constrain|>json<|message|>`;
  return { all: [{ text: header }, { schema }] };
}

function finalMessage(said: TextPattern): TextPattern {
  return { all: [{ text: "<|channel|>final<|message|>" }, said] };
}

/** Calls in a form, as patterns. */
class CallForm {
  readonly #form: ToolCallFormat;
  readonly #call: TextPattern;
  readonly #most: number | undefined;
  /** What stands before the first call, up to where no other text goes on so, and the rest of it */
  readonly #trigger: string;
  readonly #lead: string;

  constructor(
    form: ToolCallFormat,
    tools: readonly Tool[],
    isParallel: boolean,
  ) {
    this.#form = form;
    this.#call = { any: tools.map((tool) => this.#callOf(tool)) };
    // The first call is there already.
    this.#most = isParallel && form.between !== undefined ? undefined : 0;
    const lead = (form.begin + form.before).trimStart();
    [this.#trigger = ""] = chunksOf(lead);
    this.#lead = lead.slice(this.#trigger.length);
  }

  /** Calls, and nothing else. */
  required(): TextPattern {
    return { all: [space, { text: this.#trigger }, ...this.#behindTrigger()] };
  }

  /** Text with calls in it, or none. */
  free(): TextPattern {
    const trigger = this.#trigger;
    if (trigger === "") {
      const calls = { all: this.#behindTrigger() };
      const { call } = this.#form;
      const head = call.kind === "object" ? call.head : "";
      return { any: [calls, { free: [], notFirst: [head] }] };
    }
    const calls: TextPattern = {
      all: [{ upTo: trigger }, ...this.#behindTrigger()],
    };
    const most = this.#most === 0 ? 1 : undefined;
    return { all: [{ repeat: calls, most }, { free: [trigger] }] };
  }

  #behindTrigger(): TextPattern[] {
    const { before, after, between = "", end } = this.#form;
    const next: TextPattern = {
      all: [marker(between + before), this.#call, marker(after)],
    };
    return [
      marker(this.#lead),
      this.#call,
      marker(after),
      { repeat: next, most: this.#most },
      { text: end.trimEnd() },
    ];
  }

  #callOf({ name, schema }: Tool): TextPattern {
    const { call } = this.#form;
    switch (call.kind) {
      case "object":
        return {
          all: [
            marker(call.head),
            { text: JSON.stringify(name) },
            marker(call.middle),
            { schema },
            marker(call.tail),
          ],
        };
      case "named":
        return { all: [{ text: name }, marker(call.afterName), { schema }] };
      case "tagged":
        return {
          all: [
            { text: name },
            marker(call.afterName),
            ...taggedArguments(call, schema),
          ],
        };
    }
  }
}

/** A marker, with any word where it has one. */
function marker(text: string): TextPattern {
  const [first, ...rest] = text.split(ANY_WORD);
  return {
    all: [{ text: first }, ...rest.flatMap((each) => [word, { text: each }])],
  };
}

/** Arguments between tags, in the order of their schema; those that need not be there may be left out. */
function taggedArguments(
  call: TaggedCall,
  { properties, required, $defs, definitions }: JsonObject,
): TextPattern[] {
  const shared = {
    ...isObject($defs) && { $defs },
    ...isObject(definitions) && { definitions },
  };
  const needed = new Set(Array.isArray(required) ? required : []);
  return Object.entries(isObject(properties) ? properties : {})
    .map(([key, given]) => {
      const schema: JsonSchema = isObject(given)
        ? { ...shared, ...given }
        : given === true;
      const isText = isObject(given) && given.type === "string";
      const pair: TextPattern = {
        all: [
          { text: call.beforeKey + key + call.afterKeys[isText ? 0 : 1] },
          ...taggedValue(call, schema),
        ],
      };
      return needed.has(key) ? pair : { repeat: pair, most: 1 };
    });
}

/** A value and the tag behind it: a text is written as it is. */
function taggedValue(
  { afterValue }: TaggedCall,
  schema: JsonSchema,
): TextPattern[] {
  const end = { text: afterValue };
  if (!isObject(schema)) return [{ schema }, end];
  const values = schema.const === undefined ? schema.enum : [schema.const];
  if (Array.isArray(values)) {
    const texts = values.map((value) => ({
      text: typeof value === "string" ? value : JSON.stringify(value),
    }));
    return [{ any: texts }, end];
  }
  if (schema.type !== "string") return [{ schema }, end];
  const { pattern, minLength, maxLength } = schema;
  if (typeof pattern === "string") return [{ regex: pattern }, end];
  const length = (value: unknown) =>
    typeof value === "number" ? value : undefined;
  return [{
    upTo: afterValue,
    least: length(minLength),
    most: length(maxLength),
  }];
}
