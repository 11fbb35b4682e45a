/** `/v1/messages/count_tokens`. */
import { readBody } from "../body.ts";
import { chatRequestOf } from "../openai/chat.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { takeModel } from "../turn.ts";
import { chatBodyOf, promptSchema } from "./body.ts";

/** Registers `/v1/messages/count_tokens`. */
export function countTokensRoutes(
  app: ServerApp,
  context: ServerContext,
): void {
  app.post("/v1/messages/count_tokens", async (call) => {
    const body = chatBodyOf(await readBody(call, context, promptSchema));
    using lease = await takeModel(context, askerOf(call, body.model));
    const { prompts } = chatRequestOf(body, lease.model, context);
    return call.json({ input_tokens: prompts[0].length });
  });
}
