/** Requests for responses, and the same as chats, of which one path answers both. */
import * as v from "valibot";
import { isObject, type JsonObject } from "../../formats/json.ts";
import { textOptions } from "../../generate/generate.ts";
import { schemaOf, shown } from "../../options.ts";
import type { Present } from "../body.ts";
import { missing, refuse } from "../errors.ts";
import { anyObject, flag, openObject, text } from "../fields.ts";
import { refusePart, textFieldOf } from "../parts.ts";
import { samplingFields } from "../sampling_fields.ts";
import type { ChatBody } from "./chat.ts";
import { choiceObject } from "./tools.ts";

const part = openObject(
  { type: v.string("a text such as input_text") },
  "an object { type, text }",
);

const content = v.lazy((given): v.GenericSchema<unknown, string | Part[]> =>
  Array.isArray(given)
    ? v.array(part)
    : v.string("a text, or a list of parts { type, text }")
);

const item = openObject({
  type: text,
  role: text,
  content: v.nullish(content),
  output: v.nullish(content),
}, "an object { type, … }");

type Part = v.InferOutput<typeof part>;
type Item = v.InferOutput<typeof item>;

/** A request for a response. */
export const responseSchema = v.object({
  ...samplingFields,
  model: v.string("a text"),
  input: v.lazy((given): v.GenericSchema<unknown, string | Item[]> =>
    Array.isArray(given)
      ? v.pipe(
        v.array(item),
        v.minLength(1, "a text, or a list of one item at least"),
      )
      : v.string("a text, or a list of items")
  ),
  instructions: text,
  max_output_tokens: v.nullish(
    v.pipe(
      schemaOf(textOptions.maxTokens) as v.GenericSchema<number>,
      v.minValue(1, "a whole number from 1"),
    ),
  ),
  tools: v.nullish(
    v.array(
      openObject(
        { type: v.string("a text such as function"), name: text },
        "an object { type, name, parameters }",
      ),
      "a list of objects { type, name, parameters }",
    ),
  ),
  tool_choice: v.nullish(
    v.union(
      [v.picklist(["auto", "none", "required"]), choiceObject],
      "auto, none, required, or an object { type, name }",
    ),
  ),
  parallel_tool_calls: flag,
  text: v.nullish(
    openObject({
      format: v.nullish(
        openObject({ type: v.string("a text such as text") }, "an object"),
      ),
    }, "an object { format }"),
  ),
  reasoning: v.nullish(
    openObject({ effort: text, summary: text }, "an object { effort }"),
  ),
  include: v.nullish(v.array(v.string(), "a list of texts")),
  top_logprobs: v.nullish(
    schemaOf(textOptions.logprobs) as v.GenericSchema<number>,
  ),
  metadata: v.nullish(anyObject),
  prompt_cache_key: text,
  safety_identifier: text,
  stream: flag,
  store: flag,
  background: flag,
  previous_response_id: text,
  conversation: v.nullish(v.union([v.string(), anyObject], "a text")),
  prompt: v.nullish(anyObject),
}, "an object");

/** A request for a response. */
export type ResponseBody = Present<v.InferOutput<typeof responseSchema>>;

/** By what a request asks for the log-probabilities of what is said. */
const logprobs = "message.output_text.logprobs";

/**
 * A request as a chat.
 *
 * @throws {RequestError} for what a server that keeps nothing, or a model of texts, cannot do, by its name
 */
export function chatBodyOf(body: ResponseBody): ChatBody {
  const { instructions, input = "", text, reasoning, ...given } = body;
  const {
    model,
    tools,
    tool_choice,
    parallel_tool_calls,
    max_output_tokens,
    top_logprobs,
    include = [],
    store,
    background,
    previous_response_id,
    conversation,
    prompt,
    ...sampling
  } = given;
  const kept = { previous_response_id, conversation, prompt };
  for (const [name, value] of Object.entries(kept)) {
    if (value != null) refuse(name, "nothing is kept from request to request");
  }
  if (store) refuse("store", "nothing is kept from request to request");
  if (background) refuse("background", "answers are given at once");
  const { format } = text ?? {};
  return {
    ...sampling,
    model,
    messages: turnsOf(instructions, input),
    ...toolsOf(tools, tool_choice),
    parallel_tool_calls,
    max_completion_tokens: max_output_tokens,
    ...(include.includes(logprobs) || top_logprobs) && {
      logprobs: true,
      top_logprobs,
    },
    ...format && {
      response_format: format.type === "json_schema"
        ? { type: format.type, json_schema: format }
        : format,
    },
    ...reasoning?.effort != null && { reasoning_effort: reasoning.effort },
  } as ChatBody;
}

/** The functions of a request; tools that its maker's servers would run are not there. */
export function functionsOf(tools: ResponseBody["tools"] = []) {
  return tools.filter(({ type }) => type === "function");
}

function toolsOf(
  tools: ResponseBody["tools"],
  choice: ResponseBody["tool_choice"] = "auto",
): Pick<ChatBody, "tools" | "tool_choice"> {
  const all = functionsOf(tools).map(({ type, ...called }) => ({
    type,
    // Templates write what there is of a tool, though it be null.
    function: Object.fromEntries(
      Object.entries(called).filter(([, value]) => value != null),
    ),
  })) as NonNullable<ChatBody["tools"]>;
  if (typeof choice === "string") return { tools: all, tool_choice: choice };
  const { type, name, mode, tools: allowed } = choice;
  if (type === "function") {
    return { tools: all, tool_choice: { type, function: { name } } };
  }
  if (type !== "allowed_tools" || !Array.isArray(allowed)) {
    refuse("tool_choice.type", `tools are functions, and not ${shown(type)}`);
  }
  const names = new Set(allowed.filter(isObject).map(({ name }) => name));
  return {
    tools: all.filter((tool) => names.has(tool.function?.name)),
    tool_choice: mode === "required" ? "required" : "auto",
  };
}

/** A turn of a chat, to which more may be added. */
interface Turn {
  readonly role: string;
  readonly content: { readonly type: "text"; readonly text: string }[];
  reasoning_content?: string;
  tool_calls?: JsonObject[];
  readonly tool_call_id?: string;
  readonly [key: string]: unknown;
}

/** Items as turns: all that the assistant does up to what others say is one turn, and what systems say at the beginning. */
function turnsOf(
  instructions: string | undefined,
  input: string | readonly Item[],
): Turn[] {
  const turns: Turn[] = [];
  const turnOf = (role: string): Turn => {
    const last = turns.at(-1);
    if (last?.role === role && role !== "user") return last;
    const turn = { role, content: [] };
    turns.push(turn);
    return turn;
  };
  const say = (role: string, text: string) =>
    turnOf(role).content.push({ type: "text", text });
  if (instructions) say("system", instructions);
  if (typeof input === "string") {
    say("user", input);
    return turns;
  }
  for (const [i, item] of input.entries()) {
    const param = `input[${i}]`;
    const { role, content, output } = item;
    switch (item.type ?? "message") {
      case "message": {
        const speaker = textFieldOf({ role }, "role", param);
        const texts = textsOf(content, `${param}.content`);
        const turn = turnOf(speaker === "developer" ? "system" : speaker);
        turn.content.push(...texts);
        break;
      }
      case "function_call": {
        const turn = turnOf("assistant");
        const called = {
          name: textFieldOf(item, "name", param),
          arguments: textFieldOf(item, "arguments", param),
        };
        const id = textFieldOf(item, "call_id", param);
        turn.tool_calls ??= [];
        turn.tool_calls.push({ id, type: "function", function: called });
        break;
      }
      case "function_call_output":
        turns.push({
          role: "tool",
          tool_call_id: textFieldOf(item, "call_id", param),
          content: textsOf(output, `${param}.output`),
        });
        break;
      case "reasoning": {
        const thought = textsOf(content ?? [], `${param}.content`);
        if (thought.length === 0) break;
        const turn = turnOf("assistant");
        turn.reasoning_content = (turn.reasoning_content ?? "") +
          thought.map(({ text }) => text).join("\n");
        break;
      }
      default:
        refuse(`${param}.type`, `it cannot be read, being ${shown(item.type)}`);
    }
  }
  return turns;
}

const readable = new Set([
  "input_text",
  "output_text",
  "reasoning_text",
  "text",
]);

function textsOf(
  content: string | readonly Part[] | null | undefined,
  param: string,
): Turn["content"] {
  if (content == null) {
    missing(param);
  }
  if (typeof content === "string") return [{ type: "text", text: content }];
  return content.map((part, i) => {
    const path = `${param}[${i}]`;
    if (part.type === "refusal") {
      return { type: "text", text: textFieldOf(part, "refusal", path) };
    }
    if (readable.has(part.type)) {
      return { type: "text", text: textFieldOf(part, "text", path) };
    }
    refusePart(part, path);
  });
}
