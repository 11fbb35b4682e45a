/** Chats whose last message is the assistant's: that is gone on with, as llama.cpp's server does. */
import type { ChatTurn } from "../generate/chat_messages.ts";
import type { ChatPrompt } from "../generate/chat_options.ts";
import type { LanguageModel } from "../generate/language_model.ts";
import { checkTextLength } from "../generate/text_length.ts";
import { encodeChat } from "../tokenizer/chat_template.ts";
import { RequestError } from "./errors.ts";
import { flag } from "./fields.ts";

/** Fields that say how a prompt ends: those of vLLM and Transformers. */
export const continuationFields = {
  add_generation_prompt: flag,
  continue_final_message: flag,
};

/** A chat, and how its answer begins. */
export interface BegunChat {
  readonly turns: readonly ChatTurn[];
  readonly begun: string;
  /** Whether the template is to begin an answer, which `begun` goes on with */
  readonly addGenerationPrompt: boolean;
}

/**
 * Takes the beginning of an answer off a chat, unless the request is to end
 * that message, and begin another.
 *
 * @throws {RequestError} where that is contradictory, and for several answers in a row
 */
export function begunChat(
  turns: readonly ChatTurn[],
  { add_generation_prompt, continue_final_message }: {
    readonly add_generation_prompt?: boolean;
    readonly continue_final_message?: boolean;
  },
): BegunChat {
  if (add_generation_prompt && continue_final_message) {
    throw new RequestError(
      400,
      "Cannot use continue_final_message with add_generation_prompt: an answer goes on, or begins",
      { param: "continue_final_message" },
    );
  }
  const last = turns.at(-1);
  const isAnswer = last?.role === "assistant" && !last.tool_calls?.length;
  if (continue_final_message && !isAnswer) {
    throw new RequestError(
      400,
      "Cannot use continue_final_message: the last message is not an answer's text",
      { param: "continue_final_message" },
    );
  }
  const goesOn = continue_final_message ?? add_generation_prompt === undefined;
  if (!isAnswer || !goesOn) {
    const addGenerationPrompt = add_generation_prompt ?? true;
    return { turns, begun: "", addGenerationPrompt };
  }
  if (turns.at(-2)?.role === "assistant") {
    throw new RequestError(
      400,
      "Cannot go on with the last message: the one before it is the assistant's too",
      { param: `messages[${turns.length - 1}]` },
    );
  }
  const { content } = last;
  const begun = typeof content === "string"
    ? content
    : (content ?? []).map(({ text }) => text).join("\n");
  return { turns: turns.slice(0, -1), begun, addGenerationPrompt: true };
}

/** A chat's prompt, and behind it what its answer begins with. */
export function promptWith<Prompt extends ChatPrompt>(
  prompt: Prompt,
  begun: string,
  { tokenizer, engine }: LanguageModel,
): Prompt {
  if (begun === "") return prompt;
  const text = prompt.text + begun;
  checkTextLength(text, tokenizer, engine.contextSize);
  return { ...prompt, text, ids: encodeChat(text, tokenizer) };
}
