/** The messages of a chat, as OpenAI's clients send them. */
import * as v from "valibot";
import type { ChatTurn } from "../../generate/chat_messages.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import { ContextError } from "../../errors.ts";
import { openObject } from "../fields.ts";
import { refusePart, textFieldOf } from "../parts.ts";

const part = openObject(
  { type: v.string("a text such as text") },
  "an object { type, text }",
);

const content = v.lazy((given) =>
  Array.isArray(given)
    ? v.array(part)
    : v.string("a text, or a list of parts { type, text }")
);

/** A list of messages. */
export const messagesField = v.pipe(
  v.array(
    openObject(
      { role: v.string("a text such as user"), content: v.nullish(content) },
      "an object { role, content }",
    ),
    "a list of objects { role, content }",
  ),
  v.minLength(1, "a list of one message at least"),
);

/**
 * Messages as templates know them: a developer is a system, and parts are texts.
 *
 * @throws {RequestError} for parts that are no text, by their name
 * @throws {ContextError} for more messages and parts than the context has tokens, before a template looks at them
 */
export function turnsOf(
  messages: v.InferOutput<typeof messagesField>,
  { engine: { contextSize } }: LanguageModel,
): ChatTurn[] {
  const count = messages.reduce(
    (sum, { content }) => sum + (Array.isArray(content) ? content.length : 1),
    0,
  );
  if (count > contextSize) {
    throw new ContextError(
      `Cannot read ${count} messages and parts: the context has ${contextSize} tokens`,
      { tokens: count, contextSize },
    );
  }
  return messages.map((message, i) => {
    const { role, content } = message;
    if (Array.isArray(content)) {
      for (const [k, part] of content.entries()) {
        const param = `messages[${i}].content[${k}]`;
        if (part.type !== "text") refusePart(part, param);
        textFieldOf(part, "text", param);
      }
    }
    return {
      ...message,
      role: role === "developer" ? "system" : role,
    } as ChatTurn;
  });
}
