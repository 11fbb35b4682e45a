/** Requests of Anthropic's clients, and the same as OpenAI's chats: one path answers both. */
import * as v from "valibot";
import type { JsonObject } from "../../formats/json.ts";
import { textOptions } from "../../generate/generate.ts";
import { schemaOf, shown } from "../../options.ts";
import type { Present } from "../body.ts";
import { refuse, RequestError } from "../errors.ts";
import { anyObject, flag, openObject, text } from "../fields.ts";
import type { ChatBody } from "../openai/chat.ts";
import { refusePart, textFieldOf } from "../parts.ts";
import { samplingFields } from "../sampling_fields.ts";

const type = v.string("a text such as text");
const anyBlock = openObject({ type }, "an object { type, … }");

const block = openObject({
  type,
  /** Of a tool's result; what is in it holds no more of these. */
  content: v.nullish(contentField(anyBlock)),
}, "an object { type, … }");

/** A part of a message. */
type Block = v.InferOutput<typeof anyBlock>;
type ResultBlock = v.InferOutput<typeof block>;

const content = contentField(block);

function contentField<B extends Block>(block: v.GenericSchema<unknown, B>) {
  return v.lazy((given): v.GenericSchema<unknown, string | B[]> =>
    Array.isArray(given)
      ? v.array(block)
      : v.string("a text, or a list of blocks { type, … }")
  );
}

const message = openObject({
  role: v.picklist(["user", "assistant", "system"], "user or assistant"),
  content,
}, "an object { role, content }");

const tool = openObject({
  type: text,
  name: v.string("the tool's name"),
  description: text,
  input_schema: v.nullish(anyObject),
  strict: flag,
}, "an object { name, description, input_schema }");

const choices = ["auto", "any", "tool", "none"] as const;

/** A request to count a prompt's tokens. */
export const promptSchema = v.object({
  ...samplingFields,
  model: text,
  system: v.nullish(content),
  messages: v.pipe(
    v.array(message, "a list of objects { role, content }"),
    v.minLength(1, "a list of one message at least"),
  ),
  tools: v.nullish(
    v.array(tool, "a list of objects { name, description, input_schema }"),
  ),
  tool_choice: v.nullish(
    openObject({
      type: v.picklist(choices, "auto, any, tool or none"),
      name: text,
      disable_parallel_tool_use: flag,
    }, "an object { type }"),
  ),
  thinking: v.nullish(
    openObject({ type: v.string("a text such as enabled") }, "an object"),
  ),
  output_config: v.nullish(
    openObject({
      effort: text,
      format: v.nullish(
        openObject({
          type: v.literal("json_schema", "json_schema"),
          schema: anyObject,
        }, "an object { type, schema }"),
      ),
    }, "an object"),
  ),
  mcp_servers: v.nullish(v.array(anyObject, "a list of objects")),
}, "an object");

/** A request for a message. */
export const messageSchema = v.object({
  ...promptSchema.entries,
  max_tokens: v.pipe(
    schemaOf(textOptions.maxTokens) as v.GenericSchema<number>,
    v.minValue(1, "a whole number from 1"),
  ),
  stop_sequences: v.nullish(v.array(v.string(), "a list of texts")),
  stream: flag,
}, "an object");

type PromptBody = Present<v.InferOutput<typeof promptSchema>>;
type Message = v.InferOutput<typeof message>;
type Turns = NonNullable<ChatBody["messages"]>;

/**
 * A prompt as OpenAI's clients ask for it.
 *
 * @throws {RequestError} for what a model of texts cannot read or do, by its name
 */
export function chatBodyOf(body: PromptBody): ChatBody {
  const {
    model,
    system = "",
    messages = [],
    tools = [],
    tool_choice,
    thinking,
    output_config: { effort, format } = {},
    mcp_servers = [],
    ...sampling
  } = body;
  if (mcp_servers.length > 0) {
    refuse("mcp_servers", "tools are called by the client");
  }
  if (messages.at(-1)?.role === "assistant") {
    throw new RequestError(
      400,
      "Cannot go on with what the assistant says: the last message is the user's",
      { param: `messages[${messages.length - 1}].role` },
    );
  }
  return {
    ...sampling,
    model,
    messages: [
      ...systemTurns(system),
      ...messages.flatMap((message, i) =>
        turnsOf(message, `messages[${i}].content`)
      ),
    ],
    tools: tools.map(functionOf),
    ...tool_choice && choiceOf(tool_choice),
    ...thinking && {
      // By the name that most templates of models that think have for it.
      chat_template_kwargs: { enable_thinking: thinking.type !== "disabled" },
    },
    ...effort != null && { reasoning_effort: effort },
    ...format && {
      response_format: {
        type: format.type,
        json_schema: { name: "answer", schema: format.schema, strict: true },
      },
    },
  };
}

/**
 * What Claude Code puts before its system prompt, for its maker's accounts. It
 * differs in every request, and so would have the whole prompt read anew.
 */
const billing = /^x-anthropic-billing-header:(\s*\w+=[^;\n]*;)*\s*/;

function systemTurns(system: string | readonly Block[]): Turns {
  const texts = typeof system === "string"
    ? [system]
    : partsOf(system, "system").map(({ text }) => text);
  const said = texts.map((text) => text.replace(billing, ""))
    .filter((text) => text !== "").join("\n");
  return said === "" ? [] : [{ role: "system", content: said }];
}

/** A message as turns: the results of tools are turns of their own, which stand right behind the calls. */
function turnsOf(
  { role, content }: Message,
  path: string,
): Turns {
  if (typeof content === "string") return [{ role, content }];
  const parts: { type: "text"; text: string }[] = [];
  const results: Turns = [];
  const calls: JsonObject[] = [];
  let reasoning = "";
  for (const [i, block] of content.entries()) {
    const param = `${path}[${i}]`;
    const { type } = block;
    if (type === "tool_result" && role === "user") {
      results.push(resultOf(block, param));
    } else if (type === "tool_use" && role === "assistant") {
      calls.push(callOf(block, param));
    } else if (type === "thinking" && role === "assistant") {
      reasoning += textFieldOf(block, "thinking", param);
    } else if (type !== "redacted_thinking") {
      parts.push({ type: "text", text: textOf(block, param) });
    }
  }
  if (parts.length === 0 && calls.length === 0 && results.length > 0) {
    return results;
  }
  return [...results, {
    role,
    content: parts,
    ...reasoning !== "" && { reasoning_content: reasoning },
    ...calls.length > 0 && { tool_calls: calls },
  }];
}

function resultOf(block: ResultBlock, param: string): Turns[number] {
  const content = block.content ?? "";
  return {
    role: "tool",
    tool_call_id: textFieldOf(block, "tool_use_id", param),
    content: typeof content === "string"
      ? content
      : partsOf(content, `${param}.content`),
  };
}

function partsOf(blocks: readonly Block[], path: string) {
  return blocks.map((block, i) => ({
    type: "text",
    text: textOf(block, `${path}[${i}]`),
  }));
}

function callOf(block: Block, param: string): JsonObject {
  const { input = {} } = block;
  return {
    id: textFieldOf(block, "id", param),
    type: "function",
    function: {
      name: textFieldOf(block, "name", param),
      arguments: JSON.stringify(input),
    },
  };
}

/** The text of a block; there are others, that a model of texts cannot read. */
function textOf(block: Block, param: string): string {
  if (block.type === "text") return textFieldOf(block, "text", param);
  refusePart(block, param);
}

function functionOf(
  { type, name, description, input_schema, strict }: v.InferOutput<typeof tool>,
  i: number,
) {
  if (type != null && type !== "custom") {
    refuse(
      `tools[${i}].type`,
      `tools are the client's own, and not ${shown(type)}`,
    );
  }
  // Templates write what there is of a tool, though it be null.
  const called = {
    name,
    ...description != null && { description },
    ...input_schema && { parameters: input_schema },
    ...strict != null && { strict },
  };
  return { type: "function", function: called };
}

function choiceOf(
  { type, name, disable_parallel_tool_use }: NonNullable<
    PromptBody["tool_choice"]
  >,
): Pick<ChatBody, "tool_choice" | "parallel_tool_calls"> {
  const named = { type: "function", function: { name } };
  const same = { auto: "auto", any: "required", tool: named, none: "none" };
  return {
    tool_choice: same[type] as ChatBody["tool_choice"],
    ...disable_parallel_tool_use && { parallel_tool_calls: false },
  };
}
