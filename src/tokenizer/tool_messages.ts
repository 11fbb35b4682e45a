/** Messages about tools, in the form that a chat template takes them. */
import { isObject, type JsonObject } from "../formats/json.ts";
import type { ChatMessage } from "./chat_message.ts";
import { spaced, type ToolCall, writeCalls } from "./tool_call_text.ts";
import type { ToolSupport } from "./tool_format.ts";

/** A chat with tools. */
export interface ToolChat {
  /** The turns */
  readonly messages: readonly ChatMessage[];
  /** What may be called */
  readonly tools: readonly JsonObject[];
}

/**
 * The chat as the template takes it: OpenAI's messages carry arguments as texts,
 * which most templates take as objects; what a template does not write itself,
 * tools, calls or results, is written into the messages that it does.
 */
export function toolChat(given: ToolChat, support: ToolSupport): ToolChat {
  let messages = withIds(given.messages, support).map((message) =>
    support.writesCalls
      ? withCalls(message, support)
      : withWrittenCalls(message, support)
  );
  if (!support.writesResults) messages = withWrittenResults(messages);
  const tools = given.tools.map(completed);
  if (tools.length > 0 && !support.writesTools) {
    messages = withTools(messages, tools, support);
  }
  return { messages, tools };
}

/** The calls of a message; arguments that are no JSON stay the text that they are. */
function callsOf(message: ChatMessage): ToolCall[] {
  const { tool_calls: calls } = message;
  if (!Array.isArray(calls)) return [];
  return calls.filter(isObject).map((call, i) => {
    const called = isObject(call.function) ? call.function : call;
    return {
      id: typeof call.id === "string" ? call.id : `call${i}`,
      name: String(called.name),
      arguments: objectOf(called.arguments),
    };
  });
}

function objectOf(given: unknown): JsonObject | string {
  if (isObject(given)) return given;
  if (typeof given !== "string" || given.trim() === "") return {};
  try {
    const value = JSON.parse(given);
    return isObject(value) ? value : given;
  } catch {
    return given;
  }
}

/**
 * Results with the names of their tools, which some templates read; and ids of
 * nine characters, where the template refuses others.
 */
function withIds(
  messages: readonly ChatMessage[],
  { hasShortIds }: ToolSupport,
): ChatMessage[] {
  const names = new Map<string, string>();
  const short = new Map<string, string>();
  const shortened = (id: string) => {
    if (!hasShortIds || /^[A-Za-z0-9]{9}$/.test(id)) return id;
    const known = short.get(id) ??
      `call${String(short.size).padStart(5, "0")}`;
    short.set(id, known);
    return known;
  };
  return messages.map((message) => {
    const calls = callsOf(message);
    for (const { id, name } of calls) names.set(id, name);
    if (calls.length > 0) {
      const tool_calls = calls.map(({ id, name, arguments: given }) => ({
        id: shortened(id),
        type: "function",
        function: { name, arguments: given },
      }));
      return { ...message, tool_calls };
    }
    const { tool_call_id: id } = message;
    if (message.role !== "tool" || typeof id !== "string") return message;
    const name = message.name ?? names.get(id);
    return {
      ...message,
      tool_call_id: shortened(id),
      ...name !== undefined && { name },
    };
  });
}

/** A message's calls in the form that the template writes. */
function withCalls(
  message: ChatMessage,
  { argumentsAs, emptyContent }: ToolSupport,
): ChatMessage {
  const calls = callsOf(message);
  if (calls.length === 0) return message;
  return {
    ...message,
    content: (message.content || emptyContent) as string,
    tool_calls: calls.map(({ id, name, arguments: given }) => ({
      id,
      type: "function",
      function: {
        name,
        arguments: argumentsAs === "text" && isObject(given)
          ? spaced(given)
          : given,
      },
    })),
  };
}

/** A message with its calls as part of what it says. */
function withWrittenCalls(
  message: ChatMessage,
  { format }: ToolSupport,
): ChatMessage {
  const calls = callsOf(message);
  if (calls.length === 0) return message;
  const { tool_calls: _, content, ...rest } = message;
  const said = content ? [content] : [];
  const written = [...said, writeCalls(format, calls)].join("\n");
  return { ...rest, role: message.role, content: written };
}

/** Results as what the user says: those that follow one another as one turn, as many templates want turns to alternate. */
function withWrittenResults(messages: readonly ChatMessage[]): ChatMessage[] {
  const turns: ChatMessage[] = [];
  let isResult = false;
  for (const message of messages) {
    const wasResult = isResult;
    isResult = message.role === "tool";
    if (!isResult) {
      turns.push(message);
      continue;
    }
    const result = `<tool_response>\n${
      message.content ?? ""
    }\n</tool_response>`;
    const last = turns.at(-1);
    if (wasResult && last) {
      turns[turns.length - 1] = {
        ...last,
        content: `${last.content}\n${result}`,
      };
    } else turns.push({ role: "user", content: result });
  }
  return turns;
}

/** A tool with all that templates read of it, in the order that it was given in. */
function completed(tool: JsonObject): JsonObject {
  if (!isObject(tool.function)) return tool;
  const { description, parameters } = tool.function;
  return {
    ...tool,
    function: {
      ...tool.function,
      ...!description && { description: "" },
      ...!parameters && { parameters: { type: "object", properties: {} } },
    },
  };
}

/** The tools, and how they are called, in the system's message. */
function withTools(
  messages: readonly ChatMessage[],
  tools: readonly JsonObject[],
  { format, writesCalls }: ToolSupport,
): ChatMessage[] {
  const example: ToolCall = {
    id: "call00000",
    name: "tool-name",
    arguments: { "argument-name": "value" },
  };
  const several = writesCalls && format.between !== undefined
    ? " Several tools can be called one after another."
    : "";
  const text = "You can call tools. These are there, each with the JSON " +
    `schema of its arguments:\n<tools>\n${tools.map(spaced).join("\n")}\n` +
    "</tools>\n\nWhere a tool helps, call it by answering with its name and " +
    `arguments in this form:\n${writeCalls(format, [example]).trim()}\n\n` +
    `Its result comes in the next message.${several} Where no tool helps, ` +
    "answer in plain text.";
  const [first, ...rest] = messages;
  return first?.role === "system"
    ? [{ ...first, content: `${first.content}\n\n${text}` }, ...rest]
    : [{ role: "system", content: text }, ...messages];
}
