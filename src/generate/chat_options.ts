/** What a chat is answered by: its options, and what they make of it. */
import * as v from "valibot";
import type { TextPattern } from "../constrain/text_pattern.ts";
import type { ToolDemand } from "../constrain/tool_calls.ts";
import { UsageError } from "../errors.ts";
import { isObject, type JsonObject } from "../formats/json.ts";
import { checkOptions, type OptionsOf, type SchemaOf } from "../options.ts";
import type { AnswerFormat } from "../tokenizer/answer.ts";
import { type GenerateOptions, generateOptions } from "./generate.ts";

const jsonObject = v.custom<JsonObject>(isObject, "an object");

/** What {@linkcode LanguageModel.chat} takes beside what generating takes. */
export const chatOptions = {
  /** A Jinja template in place of the file's. */
  template: {
    type: "string",
    defaultText: "the model's own, or ChatML where it has none",
    flag: "--chat-template <template>",
    description: "a Jinja template, or a file with one",
  },
  /** Functions that the model may call, as JSON objects of the kind that its template reads. */
  tools: {
    schema: v.array(jsonObject, "a list of objects") as SchemaOf<
      readonly JsonObject[]
    >,
    description:
      "functions that the model may call, as its template reads them",
  },
  /** More variables for the template, such as `enable_thinking`. */
  variables: {
    schema: jsonObject as SchemaOf<JsonObject>,
    description: "more variables for the template, such as `enable_thinking`",
  },
  /** Whether a tool is called: as the model likes, none, one of them at least, or the one of a name. */
  toolChoice: {
    schema: v.union([
      v.picklist(["auto", "none", "required"]),
      v.strictObject({ name: v.string() }),
    ], "auto, none, required or { name }") as SchemaOf<
      "auto" | "none" | "required" | { readonly name: string }
    >,
    default: "auto",
    description: "whether a tool is called, or which",
  },
  /** Whether an answer may call several tools; where left out, if the template knows calls. */
  parallelToolCalls: {
    type: "boolean",
    description:
      "whether an answer may call several tools (default: where the template knows calls)",
  },
  /** Writes how an answer begins behind the messages. */
  addGenerationPrompt: {
    type: "boolean",
    default: true,
    description: "writes how an answer begins behind the messages",
  },
} as const;

/** Options of {@linkcode LanguageModel.chat}. */
export type ChatOptions = GenerateOptions & OptionsOf<typeof chatOptions>;

const allChatOptions = { ...generateOptions, ...chatOptions };

/** A chat that is to be answered. */
export interface ChatPrompt {
  /** The chat, as its template writes it */
  readonly text: string;
  /** What the model is to evaluate */
  readonly ids: readonly number[];
  /** How its answer is read */
  readonly answer: AnswerFormat;
  /** Special tokens that the answer's tags are made of: to be given as `shownTokens` */
  readonly shownTokens: readonly number[];
  /** What the answer is held to, so that it calls tools that are there as their schemas say: to be given as `pattern` */
  readonly pattern?: TextPattern;
}

/** What is written, and what generates. */
export function splitChatOptions(
  call: string,
  options: ChatOptions,
): [written: OptionsOf<typeof chatOptions>, rest: GenerateOptions] {
  checkOptions(call, allChatOptions, options);
  const {
    template,
    tools,
    variables,
    toolChoice,
    parallelToolCalls,
    addGenerationPrompt,
    ...rest
  } = options;
  const written = {
    template,
    tools,
    variables,
    toolChoice,
    parallelToolCalls,
    addGenerationPrompt,
  };
  return [written, rest];
}

/**
 * Which tools are to be called.
 *
 * @throws {UsageError} where one is, and is not there
 */
export function demandOf(
  tools: readonly JsonObject[],
  { toolChoice = "auto", parallelToolCalls }: OptionsOf<
    typeof chatOptions
  >,
): ToolDemand {
  const functions = tools.map((tool) =>
    isObject(tool.function) ? tool.function : tool
  );
  const names = functions.map(({ name }) => name);
  const isThere = typeof toolChoice === "object"
    ? names.includes(toolChoice.name)
    : toolChoice !== "required" || tools.length > 0;
  if (!isThere) {
    throw new UsageError(
      `Cannot call ${
        typeof toolChoice === "object"
          ? `the tool ${toolChoice.name}`
          : "a tool"
      }: ${
        tools.length === 0 ? "there is none" : `there are ${names.join(", ")}`
      }`,
    );
  }
  return {
    choice: toolChoice === "none" ? "auto" : toolChoice,
    isParallel: parallelToolCalls,
    strict: new Set(
      functions.filter(({ strict }) => strict === true)
        .map(({ name }) => String(name)),
    ),
  };
}
