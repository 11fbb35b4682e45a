/** `/apply-template`: a chat as the model's template writes it. */
import * as v from "valibot";
import { readBody } from "../body.ts";
import { messagesField, turnsOf } from "../openai/messages.ts";
import { toolFields, toolsOf, variablesOf } from "../openai/tools.ts";
import type { ServerApp, ServerContext } from "../server_context.ts";

const templateSchema = v.object({
  ...toolFields,
  model: v.nullish(v.string("a text")),
  messages: messagesField,
  add_generation_prompt: v.nullish(v.boolean("true or false")),
}, "an object");

/** Registers `/apply-template`. */
export function templateRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/apply-template", async (call) => {
    const body = await readBody(call, context, templateSchema);
    using lease = await context.models.take(body.model);
    const { text } = lease.model.chatPrompt(turnsOf(body.messages!), {
      template: context.options.template,
      tools: toolsOf(body).tools,
      variables: variablesOf(body),
      addGenerationPrompt: body.add_generation_prompt,
    });
    return call.json({ prompt: text });
  });
}
