/** `/v1/messages`, as Anthropic's clients ask for a chat's next message. */
import type { JsonObject } from "../../formats/json.ts";
import type { Summary } from "../../generate/generate.ts";
import { type Answer, startAnswer, wholeAnswers } from "../answer.ts";
import { readBody } from "../body.ts";
import { eventStream, typedEvents } from "../event_stream.ts";
import { newId } from "../new_id.ts";
import { chatRequestOf } from "../openai/chat.ts";
import {
  askerOf,
  failureOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { BlockWriter, contentOf } from "./blocks.ts";
import { chatBodyOf, messageSchema } from "./body.ts";
import { errorBody } from "./form.ts";

/** Registers `/v1/messages`. */
export function messageRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/v1/messages", async (call) => {
    const { stream, stop_sequences, max_tokens, ...prompt } = await readBody(
      call,
      context,
      messageSchema,
    );
    const body = { ...chatBodyOf(prompt), max_tokens, stop: stop_sequences };
    const answer = await startAnswer(
      context,
      askerOf(call, body.model),
      (model) => chatRequestOf(body, model, context),
    );
    const { pingInterval } = context.options;
    const { stop: onGone, signal } = answer;
    const bodyOf = (error: unknown) => errorBody(failureOf(error, context));
    if (!stream) return call.json(await wholeMessage(answer));
    return eventStream(typedEvents(changes(answer), bodyOf), {
      pingInterval,
      ping: { event: "ping", data: { type: "ping" } },
      onGone,
      signal,
    });
  });
}

/** The answer, whole. */
async function wholeMessage(answer: Answer): Promise<JsonObject> {
  const [{ parts, summary }] = await wholeAnswers(answer);
  const writer = new BlockWriter();
  const content = contentOf([...writer.push(parts), ...writer.finish()]);
  return {
    ...messageOf(answer, usageOf(summary)),
    content,
    ...stopOf(summary, writer.hasCalls),
  };
}

/** The answer, piece by piece. */
async function* changes(
  answer: Answer,
): AsyncGenerator<JsonObject, void, void> {
  const { request: { prompts: [{ length }] } } = answer;
  const writer = new BlockWriter();
  // How much of the prompt need not be read is known later.
  const usage = usageOf({
    promptTokens: length,
    cachedTokens: 0,
    completionTokens: 0,
  });
  yield { type: "message_start", message: messageOf(answer, usage) };
  yield { type: "ping" };
  for await (const event of answer.events) {
    if (event.type === "prompt") continue;
    yield* writer.push(event.parts);
    if (event.type === "text") continue;
    yield* writer.finish();
    const { summary } = event;
    yield {
      type: "message_delta",
      delta: { ...stopOf(summary, writer.hasCalls), container: null },
      usage: usageOf(summary),
    };
  }
  yield { type: "message_stop" };
}

/** A message before anything is said. */
function messageOf({ modelId }: Answer, usage: JsonObject): JsonObject {
  return {
    id: newId("msg_"),
    type: "message",
    role: "assistant",
    model: modelId,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    container: null,
    usage,
  };
}

/** Why a message ended; one cut short is not whole, whatever it called. */
function stopOf(
  { finishReason, stopString }: Summary,
  hasCalls: boolean,
): JsonObject {
  const whole = stopString !== undefined
    ? "stop_sequence"
    : hasCalls
    ? "tool_use"
    : "end_turn";
  return {
    stop_reason: finishReason === "stop" ? whole : "max_tokens",
    stop_sequence: stopString ?? null,
    stop_details: null,
  };
}

/** How many tokens were read and written; those that others had left behind count by themselves. */
function usageOf(
  { promptTokens, cachedTokens, completionTokens }: Pick<
    Summary,
    "promptTokens" | "cachedTokens" | "completionTokens"
  >,
): JsonObject {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_read_input_tokens: cachedTokens,
    cache_creation_input_tokens: 0,
    cache_creation: null,
    output_tokens: completionTokens,
    output_tokens_details: null,
    server_tool_use: null,
    service_tier: "standard",
    inference_geo: null,
  };
}
