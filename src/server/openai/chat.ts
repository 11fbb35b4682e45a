/** `/v1/chat/completions`. */
import * as v from "valibot";
import {
  type Answer,
  type AnswerRequest,
  type AnswerToken,
  startAnswer,
  wholeAnswers,
} from "../answer.ts";
import { type Present, readBody } from "../body.ts";
import { begunChat, continuationFields, promptWith } from "../continuation.ts";
import { RequestError } from "../errors.ts";
import { flag, stopsOf, wholeNumber } from "../fields.ts";
import type { Summary } from "../../generate/generate.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import type { JsonObject } from "../../formats/json.ts";
import { textOptions } from "../../generate/generate.ts";
import { schemaOf } from "../../options.ts";
import { newId } from "../new_id.ts";
import { samplingOf } from "../sampling_fields.ts";
import { joinAnswer } from "../../tokenizer/answer.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { timingsOf } from "../timings.ts";
import { chunkStream, fingerprintOf, textFields, usageOf } from "./form.ts";
import { now } from "../now.ts";
import { chatLogprobs } from "./logprobs.ts";
import { messagesField, turnsOf } from "./messages.ts";
import { formatFields, saidOf } from "./response_format.ts";
import {
  deltaOf,
  messageOf,
  toolFields,
  toolsOf,
  variablesOf,
} from "./tools.ts";

const mostTop = 20;

const chatSchema = v.object({
  ...textFields,
  messages: messagesField,
  max_completion_tokens: v.nullish(
    schemaOf(textOptions.maxTokens) as v.GenericSchema<number>,
  ),
  logprobs: flag,
  top_logprobs: wholeNumber(0, mostTop),
  ...formatFields,
  ...toolFields,
  ...continuationFields,
}, "an object");

/** A request for a chat's next message. */
export type ChatBody = Present<v.InferOutput<typeof chatSchema>>;

/** Registers `/v1/chat/completions`. */
export function chatRoutes(app: ServerApp, context: ServerContext): void {
  app.on(
    "POST",
    ["/v1/chat/completions", "/chat/completions"],
    async (call) => {
      const body = await readBody(call, context, chatSchema);
      const answer = await startAnswer(
        context,
        askerOf(call, body.model),
        (model) => chatRequestOf(body, model, context),
      );
      if (!body.stream) return call.json(await completion(answer));
      const hasUsage = body.stream_options?.include_usage ?? false;
      return chunkStream(context, answer, chunks(answer, hasUsage));
    },
  );
}

/**
 * What a chat's body asks for.
 *
 * @throws {RequestError} for what cannot be done, by the name of its field
 */
export function chatRequestOf(
  body: ChatBody,
  model: LanguageModel,
  { options }: ServerContext,
): AnswerRequest {
  const { logprobs = false, top_logprobs } = body;
  if (top_logprobs && !logprobs) {
    throw new RequestError(
      400,
      `Cannot give top_logprobs ${top_logprobs} without logprobs`,
      { param: "top_logprobs" },
    );
  }
  const { tools, choice } = toolsOf(body);
  const chat = begunChat(turnsOf(body.messages!, model), body);
  const prompt = model.chatPrompt(
    chat.turns,
    {
      template: options.template,
      tools,
      toolChoice: choice,
      parallelToolCalls: body.parallel_tool_calls,
      variables: variablesOf(body, options),
      addGenerationPrompt: chat.addGenerationPrompt,
    },
    saidOf(body),
  );
  const { ids, answer, shownTokens, pattern } = promptWith(
    prompt,
    chat.begun,
    model,
  );
  const { reasoning_format = options.reasoningFormat } = body;
  const isSplit = reasoning_format !== "none";
  return {
    prompts: [ids],
    choices: body.n ?? 1,
    format: isSplit ? answer : { ...answer, reasoning: undefined },
    options: {
      ...samplingOf(body, model, options.sampling),
      maxTokens: body.max_completion_tokens ?? body.max_tokens,
      stop: stopsOf(body.stop),
      logprobs: logprobs ? top_logprobs ?? 0 : undefined,
      shownTokens,
      pattern,
      grammar: body.grammar,
    },
  };
}

/** The answer, whole. */
async function completion(answer: Answer) {
  const { model, modelId, request } = answer;
  const { tokenizer } = model;
  const created = now();
  const answers = await wholeAnswers(answer);
  const hasLogprobs = request.options.logprobs !== undefined;
  return {
    id: newId("chatcmpl-"),
    object: "chat.completion",
    created,
    model: modelId,
    system_fingerprint: fingerprintOf(model),
    choices: answers.map(({ parts, tokens, summary }, index) => {
      const whole = joinAnswer(parts);
      return {
        index,
        message: messageOf(whole),
        logprobs: hasLogprobs ? chatLogprobs(tokenizer, tokens) : null,
        finish_reason: finishReason(summary, whole.calls.length > 0),
      };
    }),
    usage: usageOf(answers.map(({ summary }) => summary), request.choices),
    timings: timingsOf(answers[0].summary),
  };
}

/** What a chunk says of a choice. */
interface ChoiceChange {
  readonly delta: JsonObject;
  readonly tokens?: readonly AnswerToken[];
  readonly finish_reason?: string;
}

/** The answer, piece by piece. */
async function* chunks(
  answer: Answer,
  hasUsage: boolean,
): AsyncGenerator<JsonObject, void, void> {
  const { model, modelId, request } = answer;
  const { tokenizer } = model;
  const hasLogprobs = request.options.logprobs !== undefined;
  const base = {
    id: newId("chatcmpl-"),
    object: "chat.completion.chunk",
    created: now(),
    model: modelId,
    system_fingerprint: fingerprintOf(model),
    ...hasUsage && { usage: null },
  };
  const chunk = (
    index: number,
    { delta, tokens, finish_reason = undefined }: ChoiceChange,
  ) => ({
    ...base,
    choices: [{
      index,
      delta,
      ...tokens && hasLogprobs && { logprobs: chatLogprobs(tokenizer, tokens) },
      finish_reason: finish_reason ?? null,
    }],
  });
  const begun = new Set<number>();
  const calling = new Set<number>();
  const summaries: Summary[] = [];
  for await (const event of answer.events) {
    const { choice } = event;
    if (!begun.has(choice)) {
      begun.add(choice);
      yield chunk(choice, { delta: { role: "assistant", content: null } });
    }
    if (event.type === "prompt") continue;
    if (event.parts.some(({ type }) => type === "toolCall")) {
      calling.add(choice);
    }
    const deltas = event.parts.map(deltaOf)
      .filter((delta) => delta !== undefined);
    const tokens = event.type === "text" ? [event.token] : undefined;
    // A token stands beside the first change that it makes, and beside none where it makes none.
    if (deltas.length === 0 && tokens && hasLogprobs) {
      deltas.push({ content: "" });
    }
    for (const [i, delta] of deltas.entries()) {
      yield chunk(choice, { delta, tokens: i === 0 ? tokens : undefined });
    }
    if (event.type === "finish") {
      const { summary } = event;
      summaries[choice] = summary;
      const finish_reason = finishReason(summary, calling.has(choice));
      const timings = timingsOf(summary);
      yield { ...chunk(choice, { delta: {}, finish_reason }), timings };
    }
  }
  if (!hasUsage) return;
  yield {
    ...base,
    choices: [],
    usage: usageOf(summaries, request.choices),
    timings: timingsOf(summaries[0]),
  };
}

/** Why an answer ended; one cut short is not whole, whatever it called. */
function finishReason({ finishReason }: Summary, hasCalls: boolean): string {
  return finishReason === "stop" && hasCalls ? "tool_calls" : finishReason;
}
