/** What OpenAI's answers have in common. */
import * as v from "valibot";
import type { Summary } from "../../generate/generate.ts";
import { textOptions } from "../../generate/generate.ts";
import type { Answer } from "../answer.ts";
import { errorHeaders, RequestError } from "../errors.ts";
import { flag, text, wholeNumber } from "../fields.ts";
import { eventStream, type StreamEvent } from "../event_stream.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import { schemaOf } from "../../options.ts";
import { samplingFields } from "../sampling_fields.ts";
import { failureOf, type ServerContext } from "../server_context.ts";

/** An id such as `chatcmpl-3f2a…`. */
export function newId(prefix: string): string {
  return prefix + crypto.randomUUID().replaceAll("-", "");
}

/** Seconds since 1970. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** What computes the answers; another may round otherwise, so that the same request has another answer. */
export function fingerprintOf({ backend }: LanguageModel): string {
  return `backend: ${backend}`;
}

/** An error's body. */
export function errorBody({ status, message, type, details }: RequestError) {
  const { param = null, code = status, more } = details;
  return { error: { code, message, type, param, ...more } };
}

/** An error's response. */
export function errorResponse(error: RequestError): Response {
  return Response.json(errorBody(error), {
    status: error.status,
    headers: errorHeaders(error),
  });
}

/** Most answers to one prompt. */
const mostChoices = 128;

/** Texts that end an answer. */
export const stopField = v.nullish(
  v.union([v.string(), v.array(v.string())], "a text or a list of texts"),
);

/** Fields of all requests for texts. */
export const textFields = {
  ...samplingFields,
  model: text,
  n: wholeNumber(1, mostChoices),
  max_tokens: v.nullish(
    schemaOf(textOptions.maxTokens) as v.GenericSchema<number>,
  ),
  stop: stopField,
  stream: flag,
  stream_options: v.nullish(
    v.object(
      { include_usage: flag },
      "an object",
    ),
  ),
};

/** The texts that end an answer; empty ones end none. */
export function stopsOf(
  stop: string | readonly string[] | undefined,
): string[] {
  return [stop ?? []].flat().filter((text) => text !== "");
}

/** What cannot be done is refused by the name of the field that asks for it. */
export function refuse(param: string, why: string): never {
  throw new RequestError(501, `Cannot use ${param}: ${why}`, { param });
}

/** An answer as a stream of chunks, with `[DONE]` behind it, or an error where it fails. */
export function chunkStream(
  context: ServerContext,
  answer: Answer,
  chunks: AsyncGenerator<unknown, void, void>,
): Response {
  return dataStream(context, answer, chunks, "[DONE]");
}

/** An answer as a stream of data, with `last` behind it, or an error where it fails. */
export function dataStream(
  context: ServerContext,
  answer: Answer,
  chunks: AsyncGenerator<unknown, void, void>,
  last?: string,
): Response {
  const { pingInterval } = context.options;
  return eventStream(events(), { pingInterval, onGone: answer.stop });

  async function* events(): AsyncGenerator<StreamEvent, void, void> {
    try {
      for await (const data of chunks) yield { data };
      if (last !== undefined) yield { data: last };
    } catch (error) {
      yield { data: errorBody(failureOf(error, context)) };
    }
  }
}

/** How many tokens were read and written, of one prompt or several. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** What a request's answers used: a prompt counts once, however many answers it has. */
export function usageOf(
  summaries: readonly Summary[],
  choices: number,
): Usage {
  const prompts = summaries.filter((_, i) => i % choices === 0);
  const sum = (
    of: readonly Summary[],
    name: "promptTokens" | "cachedTokens" | "completionTokens",
  ) => of.reduce((total, summary) => total + summary[name], 0);
  const prompt = sum(prompts, "promptTokens");
  const completion = sum(summaries, "completionTokens");
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(prompts, "cachedTokens") },
  };
}
