/** `/completion`, llama.cpp's own way of asking for a text. */
import * as v from "valibot";
import {
  type Answer,
  type AnswerRequest,
  type AnswerToken,
  startAnswer,
  wholeAnswers,
} from "../answer.ts";
import { dataStream } from "../answer_stream.ts";
import { type Present, readBody } from "../body.ts";
import { refuse } from "../errors.ts";
import { flag, openObject, stopField, stopsOf, text } from "../fields.ts";
import {
  constraintFieldOptions,
  constraintFields,
} from "../constraint_fields.ts";
import { isObject, type JsonObject } from "../../formats/json.ts";
import type { Summary } from "../../generate/generate.ts";
import { textOptions } from "../../generate/generate.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import { schemaOf } from "../../options.ts";
import { checkTextLength } from "../../generate/text_length.ts";
import { inSlices } from "../../platform/time_slice.ts";
import { checkCount, promptsField } from "../prompts.ts";
import {
  biasSettings,
  samplingFields,
  samplingOf,
  samplingSettings,
} from "../sampling_fields.ts";
import {
  askerOf,
  type ServerApp,
  type ServerCall,
  type ServerContext,
} from "../server_context.ts";
import { timingsOf } from "../timings.ts";
import { tokenText, wholeText } from "../token_text.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

const count = schemaOf(textOptions.maxTokens) as v.GenericSchema<number>;
const most = schemaOf(textOptions.logprobs) as v.GenericSchema<number>;

/** Fields that say how a text is written. */
export const textFields = {
  ...samplingFields,
  ...constraintFields,
  model: text,
  n_predict: v.nullish(count),
  max_tokens: v.nullish(count),
  n_probs: v.nullish(most),
  post_sampling_probs: flag,
  stop: stopField,
  stream: flag,
  cache_prompt: flag,
  return_tokens: flag,
  timings_per_token: flag,
  response_fields: v.nullish(
    v.array(v.string("a field's name"), "a list of names"),
  ),
};

const textSchema = v.object(textFields, "an object");

const completionSchema = v.object({
  ...textFields,
  prompt: v.lazy((given) => isObject(given) ? textPrompt : mixedPrompt),
}, "an object");

/** A text, in the form that may have pictures beside it. */
const textPrompt = v.pipe(
  openObject({ prompt_string: v.string("a text") }, "a text"),
  v.check(
    ({ multimodal_data }) =>
      multimodal_data == null ||
      Array.isArray(multimodal_data) && multimodal_data.length === 0,
    "a text without multimodal_data, which the model cannot read",
  ),
  v.transform(({ prompt_string }) => prompt_string),
);

/** Ids and texts in one list are one prompt: `[1, 2, "and so"]`. */
const mixedPrompt = v.pipe(
  v.union([
    promptsField,
    v.array(v.union([
      v.string(),
      v.number(),
      textPrompt,
      v.array(v.union([v.string(), v.number()])),
    ])),
  ], "a text, a list of ids, or a list of these"),
);

type TextBody = Present<v.InferOutput<typeof textSchema>>;

/** Registers `/completion`. */
export function llamaCompletionRoutes(
  app: ServerApp,
  context: ServerContext,
): void {
  app.on("POST", ["/completion", "/completions"], async (call) => {
    const body = await readBody(call, context, completionSchema);
    return await answerText(
      call,
      context,
      body,
      (model) => mixedPromptsOf(body.prompt!, model),
    );
  });
}

/** Answers with a text, or several, in llama.cpp's form, to the prompts that `promptsOf` gives. */
export async function answerText(
  call: ServerCall,
  context: ServerContext,
  body: TextBody,
  promptsOf: (
    model: LanguageModel,
    options: AnswerRequest["options"],
  ) => AnswerRequest["prompts"] | Promise<AnswerRequest["prompts"]>,
): Promise<Response> {
  const answer = await startAnswer(
    context,
    askerOf(call, body.model),
    async (model) => {
      const options = optionsOf(body, model, context);
      const prompts = await promptsOf(model, options);
      return { prompts, choices: 1, options };
    },
  );
  const form = new LlamaForm(answer, body);
  return body.stream
    ? dataStream(context, answer, form.chunks())
    : call.json(await form.whole());
}

function optionsOf(
  body: TextBody,
  model: LanguageModel,
  { options }: ServerContext,
): AnswerRequest["options"] {
  if (body.post_sampling_probs) {
    refuse("post_sampling_probs", "probabilities are the model's own");
  }
  const { n_probs = 0 } = body;
  return {
    ...samplingOf(body, model, options.sampling),
    ...constraintFieldOptions(body),
    maxTokens: body.n_predict ?? body.max_tokens,
    stop: stopsOf(body.stop),
    cachePrompt: body.cache_prompt,
    logprobs: n_probs > 0 ? n_probs : undefined,
  };
}

type MixedPrompt = NonNullable<
  Present<v.InferOutput<typeof completionSchema>>["prompt"]
>;

/**
 * The ids of each prompt. In a list of numbers and texts these are parts of one.
 *
 * @throws {RequestError} for none, or too many
 * @throws {ContextError} for texts that are longer than any that fit the context
 */
async function mixedPromptsOf(
  given: MixedPrompt,
  model: LanguageModel,
): Promise<(readonly number[])[]> {
  const parts = (typeof given === "string" ? [given] : given) as readonly (
    | string
    | number
    | readonly (string | number)[]
  )[];
  const isOne = parts.some((part) => typeof part === "number");
  const prompts = isOne ? [parts as readonly (string | number)[]] : parts;
  checkCount(prompts);
  const all: number[][] = [];
  for (const prompt of prompts) {
    all.push(await mixed([prompt].flat() as (string | number)[], model));
  }
  return all;
}

/** The ids of ids and texts; a text that comes first begins as texts begin. */
async function mixed(
  parts: readonly (string | number)[],
  { tokenizer, engine }: LanguageModel,
): Promise<number[]> {
  const texts = parts.filter((part) => typeof part === "string");
  checkTextLength(texts.join(""), tokenizer, engine.contextSize);
  const ids = await inSlices(
    parts.entries(),
    ([i, part]) =>
      typeof part === "number" ? [part] : tokenizer.encode(part, {
        addSpecial: i === 0,
        addEos: false,
        parseSpecial: true,
      }),
  );
  return ids.flat();
}

/** Writes an answer in this form. */
class LlamaForm {
  readonly #answer: Answer;
  readonly #body: TextBody;

  constructor(answer: Answer, body: TextBody) {
    this.#answer = answer;
    this.#body = body;
  }

  /** The answer, whole: a list, where there are several prompts. */
  async whole(): Promise<unknown> {
    const answers = await wholeAnswers(this.#answer);
    const results = answers.map(({ text, tokens, summary }, index) =>
      this.#final(index, text, tokens, summary)
    );
    return results.length === 1 ? results[0] : results;
  }

  /** The answer, piece by piece. */
  async *chunks(): AsyncGenerator<JsonObject, void, void> {
    const { prompts } = this.#answer.request;
    const texts = prompts.map(() => "");
    const counts = prompts.map(() => 0);
    for await (const event of this.#answer.events) {
      const { choice } = event;
      if (event.type === "text") {
        const { text, token } = event;
        texts[choice] += text;
        counts[choice]++;
        yield {
          index: choice,
          content: text,
          tokens: [token.id],
          stop: false,
          id_slot: choice,
          tokens_predicted: counts[choice],
          tokens_evaluated: prompts[choice].length,
          ...this.#probabilities([token]),
        };
      } else if (event.type === "finish") {
        const { summary } = event;
        const final = this.#final(choice, texts[choice], [], summary);
        yield { ...final, content: "" };
      }
    }
  }

  #final(
    index: number,
    content: string,
    tokens: readonly AnswerToken[],
    summary: Summary,
  ): JsonObject {
    const { request, model, modelId } = this.#answer;
    const { options, prompts } = request;
    const { promptTokens, completionTokens, stopString = "" } = summary;
    const { response_fields, return_tokens } = this.#body;
    const all = {
      index,
      content,
      tokens: return_tokens ? tokens.map(({ id }) => id) : [],
      id_slot: index,
      stop: true,
      model: modelId,
      tokens_predicted: completionTokens,
      tokens_evaluated: promptTokens,
      generation_settings: settingsOf(options, summary.seed, model.tokenizer),
      prompt: wholeText(model.tokenizer, prompts[index]),
      has_new_line: content.includes("\n"),
      truncated: isTruncated(options, summary),
      stop_type: stopTypeOf(summary),
      stopping_word: stopString,
      tokens_cached: promptTokens + completionTokens - 1,
      ...this.#probabilities(tokens),
      timings: timingsOf(summary),
    };
    return response_fields?.length ? picked(all, response_fields) : all;
  }

  #probabilities(tokens: readonly AnswerToken[]): JsonObject {
    const { model: { tokenizer }, request } = this.#answer;
    if (request.options.logprobs === undefined || tokens.length === 0) {
      return {};
    }
    const spelled = (id: number, logprob: number) => ({
      id,
      token: tokenText(tokenizer, id),
      bytes: [...tokenizer.pieceBytes(id)],
      logprob,
    });
    return {
      completion_probabilities: tokens.map((
        { id, logprob, topLogprobs = [] },
      ) => ({
        ...spelled(id, logprob),
        top_logprobs: topLogprobs.map(({ id, logprob }) =>
          spelled(id, logprob)
        ),
      })),
    };
  }
}

/** Why a text ended, in llama.cpp's words. */
function stopTypeOf({ finishReason, stopString }: Summary): string {
  if (stopString !== undefined) return "word";
  return finishReason === "stop" ? "eos" : "limit";
}

/** Whether a text was cut off by the end of the context, and not by what it was allowed. */
function isTruncated(
  { maxTokens = -1 }: AnswerRequest["options"],
  { finishReason, completionTokens }: Summary,
): boolean {
  return finishReason === "length" &&
    (maxTokens < 0 || completionTokens < maxTokens);
}

/** How a text was written, by the names of the fields that say so. */
function settingsOf(
  options: AnswerRequest["options"],
  seed: number,
  tokenizer: Tokenizer,
): JsonObject {
  const { maxTokens = -1, stop = [], logprobs = 0 } = options;
  return {
    ...samplingSettings({ ...options, seed }),
    n_predict: maxTokens,
    max_tokens: maxTokens,
    n_probs: logprobs,
    logit_bias: biasSettings(options, tokenizer),
    stop,
  };
}

/** Fields by their paths, `generation_settings/n_predict`; those that are not there are left out. */
function picked(all: JsonObject, paths: readonly string[]): JsonObject {
  const found = paths.flatMap((path) => {
    const value = path.split("/").reduce<unknown>(
      (inner, name) =>
        isObject(inner) && Object.hasOwn(inner, name)
          ? (inner as JsonObject)[name]
          : undefined,
      all,
    );
    return value === undefined ? [] : [[path, value]];
  });
  return Object.fromEntries(found);
}
