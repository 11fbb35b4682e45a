/** `/apply-template`, a chat as the model's template writes it, and `/v1/chat/completions/input_tokens`, how many tokens that has. */
import * as v from "valibot";
import { type Present, readBody } from "../body.ts";
import { text } from "../fields.ts";
import { begunChat, continuationFields, promptWith } from "../continuation.ts";
import type { ChatPrompt } from "../../generate/chat_options.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import { messagesField, turnsOf } from "../openai/messages.ts";
import { toolFields, toolsOf, variablesOf } from "../openai/tools.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { takeModel } from "../turn.ts";

const templateSchema = v.object({
  ...toolFields,
  ...continuationFields,
  model: text,
  messages: messagesField,
}, "an object");

/** Registers these. */
export function templateRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/apply-template", async (call) => {
    const body = await readBody(call, context, templateSchema);
    using lease = await takeModel(context, askerOf(call, body.model));
    const { text } = promptOf(body, lease.model, context);
    return call.json({ prompt: text });
  });
  app.on(
    "POST",
    ["/v1/chat/completions/input_tokens", "/chat/completions/input_tokens"],
    async (call) => {
      const body = await readBody(call, context, templateSchema);
      using lease = await takeModel(context, askerOf(call, body.model));
      const { ids } = promptOf(body, lease.model, context);
      return call.json({
        object: "response.input_tokens",
        input_tokens: ids.length,
      });
    },
  );
}

function promptOf(
  body: Present<v.InferOutput<typeof templateSchema>>,
  model: LanguageModel,
  { options }: ServerContext,
): ChatPrompt {
  const chat = begunChat(turnsOf(body.messages!, model), body);
  const prompt = model.chatPrompt(chat.turns, {
    template: options.template,
    tools: toolsOf(body).tools,
    variables: variablesOf(body, options),
    addGenerationPrompt: chat.addGenerationPrompt,
  });
  return promptWith(prompt, chat.begun, model);
}
