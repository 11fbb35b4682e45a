/** The turns of a chat, as callers give them. */
import * as v from "valibot";
import { isObject, type JsonObject } from "../formats/json.ts";
import { checkValue } from "../options.ts";
import type { ChatMessage } from "../tokenizer/chat_message.ts";

/** A piece of a turn, as OpenAI's clients send it. */
export interface TextPart {
  /** The kind of the piece: text alone can be read. */
  readonly type: "text";
  /** What is said. */
  readonly text: string;
}

/** One turn of a chat; its content may come in parts. */
export interface ChatTurn extends Omit<ChatMessage, "content"> {
  /** Who speaks: `system`, `user`, `assistant` or `tool`. */
  readonly role: string;
  /** What is said; absent where a turn holds `tool_calls` alone. */
  readonly content?: string | null | readonly TextPart[];
  /** What the assistant has thought before. */
  readonly reasoning_content?: string | null;
  /** Tools that the assistant has called, each with its arguments as JSON. */
  readonly tool_calls?:
    | readonly {
      readonly id?: string;
      readonly type?: string;
      readonly function: {
        readonly name: string;
        readonly arguments?: string | Readonly<Record<string, unknown>>;
      };
    }[]
    | null;
  /** Which call the content is the result of, where a `tool` speaks. */
  readonly tool_call_id?: string | null;
}

const part = v.object({
  type: v.literal("text", "text: other parts cannot be read"),
  text: v.string("a text"),
}, "an object { type, text }");

const text = v.string("a text, or a list of parts { type, text }");

const call = v.looseObject({
  id: v.nullish(v.string("a text")),
  function: v.looseObject({
    name: v.string("the tool's name"),
    arguments: v.nullish(
      v.union(
        [v.string(), v.custom<JsonObject>(isObject)],
        "JSON as a text, or an object",
      ),
    ),
  }, "an object { name, arguments }"),
}, "an object { id, type, function }");

const turns: v.GenericSchema<unknown> = v.array(
  v.looseObject({
    role: v.string("a text such as user"),
    content: v.nullish(
      v.lazy((content) => Array.isArray(content) ? v.array(part) : text),
    ),
    reasoning_content: v.nullish(v.string("a text")),
    tool_calls: v.nullish(v.array(call, "a list of calls")),
    tool_call_id: v.nullish(v.string("a text")),
  }, "an object { role, content }"),
  "a list of objects { role, content }",
);

/**
 * The turns with their parts joined, a line each, as llama.cpp's server joins them.
 *
 * @throws {UsageError} for what is no list of turns, and parts that are no text
 */
export function messagesOf(given: readonly ChatTurn[]): ChatMessage[] {
  checkValue("messages", { schema: turns }, given ?? null);
  return given.map((turn) => ({
    ...turn,
    content: Array.isArray(turn.content)
      ? turn.content.map(({ text }) => text).join("\n")
      : turn.content,
  })) as ChatMessage[];
}
