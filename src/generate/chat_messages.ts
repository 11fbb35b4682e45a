/** The turns of a chat, as callers give them. */
import * as v from "valibot";
import { checkValue } from "../options.ts";
import type { ChatMessage } from "../tokenizer/chat_template.ts";

/** A piece of a turn, as OpenAI's clients send it. */
export interface TextPart {
  /** The kind of the piece: text alone can be read. */
  readonly type: "text";
  /** What is said. */
  readonly text: string;
}

/** One turn of a chat; its content may come in parts. */
export interface ChatTurn extends Omit<ChatMessage, "content"> {
  /** Who speaks: `system`, `user` or `assistant`. */
  readonly role: string;
  /** What is said; absent where a turn holds `tool_calls` alone. */
  readonly content?: string | null | readonly TextPart[];
}

const part = v.object({
  type: v.literal("text", "text: other parts cannot be read"),
  text: v.string("a text"),
}, "an object { type, text }");

const text = v.string("a text, or a list of parts { type, text }");

const turns: v.GenericSchema<unknown> = v.array(
  v.looseObject({
    role: v.string("a text such as user"),
    content: v.nullish(
      v.lazy((content) => Array.isArray(content) ? v.array(part) : text),
    ),
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
