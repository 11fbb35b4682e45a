/** Tools of a chat, as OpenAI's clients send them, and what a message says of their calls. */
import * as v from "valibot";
import { isObject, type JsonObject } from "../../formats/json.ts";
import type { ChatEvent, WholeChatAnswer } from "../../tokenizer/answer.ts";
import { shown } from "../../options.ts";
import { formatTime } from "../../tokenizer/jinja/time.ts";
import { missing, refuse, RequestError } from "../errors.ts";
import { anyObject, flag, openObject, text } from "../fields.ts";
import type { CheckedServerOptions } from "../options.ts";

/** Which tools are to be called, by an object. */
export const choiceObject = openObject(
  { type: v.string("a text such as function") },
  "an object { type }",
);

/** Fields of a request that are about tools and reasoning. */
export const toolFields = {
  tools: v.nullish(
    v.array(
      openObject({
        type: v.string("a text such as function"),
        function: v.nullish(openObject({
          name: v.string("the tool's name"),
          description: text,
          parameters: v.nullish(anyObject),
        }, "an object { name, description, parameters }")),
      }, "an object { type, function }"),
      "a list of objects { type, function }",
    ),
  ),
  tool_choice: v.nullish(
    v.union(
      [v.picklist(["auto", "none", "required"]), choiceObject],
      "auto, none, required, or an object { type, function }",
    ),
  ),
  parallel_tool_calls: flag,
  reasoning_effort: v.nullish(v.string("a text such as low")),
  reasoning_format: v.nullish(
    v.picklist(["auto", "deepseek", "none"], "auto, deepseek or none"),
  ),
  chat_template_kwargs: v.nullish(anyObject),
};

/** What a request says of tools; null counts as nothing. */
type ToolBody = {
  readonly [Name in keyof typeof toolFields]?: NonNullable<
    v.InferOutput<(typeof toolFields)[Name]>
  >;
};

/** Which tools a chat has, and which of them are to be called. */
export interface ToolsOfChat {
  /** Those that the model is told of; none where none may be called */
  readonly tools: readonly JsonObject[];
  /** `required`: one of them at least; a name: that one */
  readonly choice: "auto" | "required" | { readonly name: string };
}

/**
 * The tools of a request.
 *
 * @throws {RequestError} for tools that are no functions, and choices that are not there
 */
export function toolsOf({ tools = [], tool_choice }: ToolBody): ToolsOfChat {
  const names = tools.map((tool, i) => {
    if (tool.type === "function" && !tool.function) {
      missing(`tools[${i}].function`);
    }
    if (tool.type !== "function" || !tool.function) {
      refuse(
        `tools[${i}].type`,
        `tools are functions, and not ${shown(tool.type)}`,
      );
    }
    return tool.function.name;
  });
  if (tool_choice === "none") return { tools: [], choice: "auto" };
  if (tool_choice === undefined || tool_choice === "auto") {
    return { tools, choice: "auto" };
  }
  if (tools.length === 0) {
    throw new RequestError(
      400,
      "Cannot use tool_choice: the request has no tools",
      { param: "tool_choice" },
    );
  }
  if (tool_choice === "required") return { tools, choice: "required" };
  const { type, function: called } = tool_choice;
  const name = isObject(called) ? called.name : undefined;
  if (type !== "function") {
    refuse("tool_choice.type", `it is function, and not ${shown(type)}`);
  }
  if (name === undefined) missing("tool_choice.function.name");
  if (!names.some((each) => each === name)) {
    throw new RequestError(
      400,
      `Cannot call tool_choice.function.name ${
        shown(name)
      }: the request has no such tool`,
      { param: "tool_choice" },
    );
  }
  return { tools, choice: { name: String(name) } };
}

/** What the template is told beside the messages: of the server's own, and what the request says. */
export function variablesOf(
  { chat_template_kwargs, reasoning_effort }: ToolBody,
  { reasoning, templateVariables }: Pick<
    CheckedServerOptions,
    "reasoning" | "templateVariables"
  >,
): JsonObject {
  const now = new Date();
  return {
    // By these names templates of Llama and others ask for the date.
    date_string: formatTime(now, "%d %b %Y"),
    datetime: formatTime(now, "%b %d %Y %H:%M:%S"),
    ...reasoning !== "auto" && { enable_thinking: reasoning === "on" },
    ...templateVariables,
    ...reasoning_effort !== undefined && { reasoning_effort },
    ...chat_template_kwargs,
  };
}

/** A whole answer as a message. */
export function messageOf(
  { reasoning, text, calls }: WholeChatAnswer,
): JsonObject {
  return {
    role: "assistant",
    content: text === "" && calls.length > 0 ? null : text,
    refusal: null,
    annotations: [],
    ...reasoning !== "" && { reasoning_content: reasoning },
    ...calls.length > 0 && {
      tool_calls: calls.map(({ id, name, arguments: given }) => ({
        id,
        type: "function",
        function: { name, arguments: given },
      })),
    },
  };
}

/** What changes in a message; undefined where nothing does. */
export function deltaOf(event: ChatEvent): JsonObject | undefined {
  switch (event.type) {
    case "text":
      return { content: event.text };
    case "reasoning":
      return { reasoning_content: event.text };
    case "toolCall": {
      const { index, id, name } = event;
      const called = { name, arguments: "" };
      return {
        tool_calls: [{ index, id, type: "function", function: called }],
      };
    }
    case "arguments": {
      const { index, text } = event;
      return { tool_calls: [{ index, function: { arguments: text } }] };
    }
    case "toolCallEnd":
      return undefined;
  }
}
