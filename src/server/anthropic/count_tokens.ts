/** `/v1/messages/count_tokens`. */
import { readBody } from "../body.ts";
import { chatRequestOf } from "../openai/chat.ts";
import type { ServerApp, ServerContext } from "../server_context.ts";
import { chatBodyOf, promptSchema } from "./body.ts";

/** Registers `/v1/messages/count_tokens`. */
export function countTokensRoutes(
  app: ServerApp,
  context: ServerContext,
): void {
  app.post("/v1/messages/count_tokens", async (call) => {
    const body = chatBodyOf(await readBody(call, context, promptSchema));
    using lease = await context.models.take(body.model);
    const { prompts } = chatRequestOf(body, lease.model, context);
    return call.json({ input_tokens: prompts[0].length });
  });
}
