/** The messages of a chat, as OpenAI's clients send them. */
import * as v from "valibot";
import type { ChatTurn } from "../../generate/chat_messages.ts";
import { RequestError } from "../errors.ts";
import { refusePart } from "../parts.ts";

const part = v.looseObject(
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
    v.looseObject(
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
 */
export function turnsOf(
  messages: v.InferOutput<typeof messagesField>,
): ChatTurn[] {
  return messages.map((message, i) => {
    const { role, content } = message;
    if (Array.isArray(content)) {
      content.forEach((part, k) => {
        checkPart(part, `messages[${i}].content[${k}]`);
      });
    }
    return {
      ...message,
      role: role === "developer" ? "system" : role,
    } as ChatTurn;
  });
}

function checkPart(
  content: v.InferOutput<typeof part>,
  param: string,
): void {
  if (content.type !== "text") refusePart(content, param);
  if (typeof content.text !== "string") {
    throw new RequestError(400, `Cannot answer: ${param}.text is missing`, {
      param: `${param}.text`,
    });
  }
}
