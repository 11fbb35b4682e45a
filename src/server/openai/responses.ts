/** `/v1/responses`. Nothing is kept: a request says all that went before. */
import type { JsonObject } from "../../formats/json.ts";
import type { Summary } from "../../generate/generate.ts";
import { type Answer, startAnswer } from "../answer.ts";
import { readBody } from "../body.ts";
import { eventStream, typedEvents } from "../event_stream.ts";
import { newId } from "../new_id.ts";
import { samplingSettings } from "../sampling_fields.ts";
import {
  askerOf,
  failureOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { timingsOf } from "../timings.ts";
import { chatRequestOf } from "./chat.ts";
import { usageOf } from "./form.ts";
import { now } from "../now.ts";
import { chatLogprobs } from "./logprobs.ts";
import {
  chatBodyOf,
  functionsOf,
  type ResponseBody,
  responseSchema,
} from "./response_body.ts";
import { ItemWriter } from "./response_items.ts";

/** Registers `/v1/responses`. */
export function responseRoutes(app: ServerApp, context: ServerContext): void {
  app.on("POST", ["/v1/responses", "/responses"], async (call) => {
    const body = await readBody(call, context, responseSchema);
    const chat = chatBodyOf(body);
    const answer = await startAnswer(
      context,
      askerOf(call, body.model),
      (model) => chatRequestOf(chat, model, context),
    );
    const form = new ResponseForm(answer, body);
    if (!body.stream) return call.json(await form.whole());
    const events = typedEvents(
      form.events(),
      (error) => form.failed(failureOf(error, context).message),
    );
    const { pingInterval } = context.options;
    const { stop: onGone, signal } = answer;
    return eventStream(events, { pingInterval, onGone, signal });
  });
}

/** Writes an answer in this form. */
class ResponseForm {
  readonly #answer: Answer;
  readonly #body: ResponseBody;
  readonly #id = newId("resp_");
  readonly #created = now();
  readonly #writer = new ItemWriter();
  #count = 0;

  constructor(answer: Answer, body: ResponseBody) {
    this.#answer = answer;
    this.#body = body;
  }

  /** The answer, whole. */
  async whole(): Promise<JsonObject> {
    let last!: JsonObject;
    for await (const event of this.events()) last = event;
    return { ...last.response as JsonObject, timings: last.timings };
  }

  /** The answer, piece by piece; the last event has all of it. */
  async *events(): AsyncGenerator<JsonObject, void, void> {
    const { model: { tokenizer }, request, events } = this.#answer;
    const hasLogprobs = request.options.logprobs !== undefined;
    const begun = this.#response("in_progress");
    yield this.#event({ type: "response.created", response: begun });
    yield this.#event({ type: "response.in_progress", response: begun });
    for await (const event of events) {
      if (event.type === "prompt") continue;
      if (event.type === "text") {
        const { content } = chatLogprobs(
          tokenizer,
          hasLogprobs ? [event.token] : [],
        );
        yield* this.#numbered(this.#writer.push(event.parts, content));
        continue;
      }
      const { summary, parts } = event;
      const isWhole = summary.finishReason === "stop";
      const status = isWhole ? "completed" : "incomplete";
      yield* this.#numbered(this.#writer.finish(parts, status));
      yield this.#event({
        type: `response.${status}`,
        response: {
          ...this.#response(status),
          completed_at: isWhole ? now() : null,
          incomplete_details: isWhole ? null : { reason: "max_output_tokens" },
          output: this.#writer.output,
          usage: this.#usage(summary),
        },
        timings: timingsOf(summary),
      });
    }
  }

  /** The last event of an answer that fails. */
  failed(message: string): JsonObject {
    const response = {
      ...this.#response("failed"),
      output: this.#writer.output,
      error: { code: "server_error", message },
    };
    return this.#event({ type: "response.failed", response });
  }

  #event(event: JsonObject): JsonObject {
    return { sequence_number: this.#count++, ...event };
  }

  *#numbered(events: Iterable<JsonObject>): Generator<JsonObject, void, void> {
    for (const event of events) yield this.#event(event);
  }

  #usage(summary: Summary): JsonObject {
    const {
      prompt_tokens,
      completion_tokens,
      total_tokens,
      prompt_tokens_details,
    } = usageOf([summary], 1);
    return {
      input_tokens: prompt_tokens,
      input_tokens_details: prompt_tokens_details,
      output_tokens: completion_tokens,
      output_tokens_details: { reasoning_tokens: this.#writer.reasoningTokens },
      total_tokens,
    };
  }

  /** The response before anything is said: what was asked for, and how it is answered. */
  #response(status: string): JsonObject {
    const { modelId, request: { options } } = this.#answer;
    const body = this.#body;
    const settings = samplingSettings(options);
    return {
      id: this.#id,
      object: "response",
      created_at: this.#created,
      completed_at: null,
      status,
      background: false,
      error: null,
      incomplete_details: null,
      instructions: body.instructions ?? null,
      max_output_tokens: body.max_output_tokens ?? null,
      max_tool_calls: null,
      metadata: body.metadata ?? {},
      model: modelId,
      output: [],
      parallel_tool_calls: body.parallel_tool_calls ?? true,
      previous_response_id: null,
      prompt_cache_key: body.prompt_cache_key ?? null,
      reasoning: {
        effort: body.reasoning?.effort ?? null,
        summary: body.reasoning?.summary ?? null,
      },
      safety_identifier: body.safety_identifier ?? null,
      service_tier: "default",
      store: false,
      temperature: settings.temperature,
      top_p: settings.top_p,
      presence_penalty: settings.presence_penalty,
      frequency_penalty: settings.frequency_penalty,
      top_logprobs: body.top_logprobs ?? 0,
      text: { format: body.text?.format ?? { type: "text" } },
      tool_choice: body.tool_choice ?? "auto",
      tools: functionsOf(body.tools).map((tool) => ({
        description: null,
        parameters: null,
        strict: null,
        ...tool,
      })),
      truncation: "disabled",
      usage: null,
    };
  }
}
