/** What OpenAI's answers have in common. */
import * as v from "valibot";
import type { Summary } from "../../generate/generate.ts";
import { textOptions } from "../../generate/generate.ts";
import type { Answer } from "../answer.ts";
import { dataStream } from "../answer_stream.ts";
import { flag, object, stopField, text, wholeNumber } from "../fields.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import { schemaOf } from "../../options.ts";
import { samplingFields } from "../sampling_fields.ts";
import type { ServerContext } from "../server_context.ts";

/** What computes the answers; another may round otherwise, so that the same request has another answer. */
export function fingerprintOf({ backend }: LanguageModel): string {
  return `backend: ${backend}`;
}

/** Most answers to one prompt. */
const mostChoices = 128;

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
  stream_options: v.nullish(object({ include_usage: flag }, "an object")),
};

/** An answer as a stream of chunks, with `[DONE]` behind it, or an error where it fails. */
export function chunkStream(
  context: ServerContext,
  answer: Answer,
  chunks: AsyncGenerator<unknown, void, void>,
): Response {
  return dataStream(context, answer, chunks, "[DONE]");
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
