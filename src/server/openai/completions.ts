/** `/v1/completions`. */
import * as v from "valibot";
import {
  type Answer,
  type AnswerRequest,
  startAnswer,
  wholeAnswers,
} from "../answer.ts";
import { readBody } from "../body.ts";
import { refuse, RequestError } from "../errors.ts";
import { flag, stopsOf, text, wholeNumber } from "../fields.ts";
import type { JsonObject } from "../../formats/json.ts";
import type { Summary } from "../../generate/generate.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import type { ScoredToken } from "../prompt_logprobs.ts";
import { fimPrompt } from "../fim.ts";
import { inSlices } from "../../platform/time_slice.ts";
import { listOfPrompts, promptsField, promptsOf } from "../prompts.ts";
import { newId } from "../new_id.ts";
import { samplingOf } from "../sampling_fields.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { timingsOf } from "../timings.ts";
import { chunkStream, fingerprintOf, textFields, usageOf } from "./form.ts";
import { now } from "../now.ts";
import { type CompletionLogprobs, CompletionScorer } from "./logprobs.ts";
import { formatFields, saidOf } from "./response_format.ts";

const mostTop = 100;

/** Most answers to one request. */
const mostAnswers = 2048;

const completionSchema = v.object({
  ...textFields,
  prompt: promptsField,
  echo: flag,
  logprobs: wholeNumber(0, mostTop),
  best_of: v.nullish(v.number("a number")),
  suffix: text,
  ...formatFields,
}, "an object");

type CompletionBody = Awaited<
  ReturnType<typeof readBody<v.InferOutput<typeof completionSchema>>>
>;

/** Registers `/v1/completions`. */
export function completionRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/v1/completions", async (call) => {
    const body = await readBody(call, context, completionSchema);
    const answer = await startAnswer(
      context,
      askerOf(call, body.model),
      (model) => requestOf(body, model, context),
    );
    const form = new CompletionForm(answer, body);
    if (!body.stream) return call.json(await form.whole());
    const hasUsage = body.stream_options?.include_usage ?? false;
    return chunkStream(context, answer, form.chunks(hasUsage));
  });
}

async function requestOf(
  body: CompletionBody,
  model: LanguageModel,
  { options }: ServerContext,
): Promise<AnswerRequest> {
  const { n = 1, best_of = n, echo = false, logprobs, suffix = "" } = body;
  if (suffix !== "" && echo) {
    refuse("suffix", "echo writes prompts that a text goes on from");
  }
  if (best_of !== n) {
    throw new RequestError(
      400,
      `Cannot use best_of ${best_of}: all answers are given, and n is ${n}`,
      { param: "best_of" },
    );
  }
  const { length } = listOfPrompts(body.prompt!);
  if (length * n > mostAnswers) {
    throw new RequestError(
      400,
      `Cannot answer ${length} prompts with n ${n}: the limit is ${mostAnswers} answers`,
      { param: "n" },
    );
  }
  return {
    prompts: suffix === ""
      ? await promptsOf(body.prompt!, model)
      : await inSlices(
        listOfPrompts(body.prompt!),
        (prefix) =>
          fimPrompt(model, { prefix, suffix }, body.max_tokens ?? -1, "suffix"),
      ),
    choices: n,
    options: {
      ...samplingOf(body, model, options.sampling),
      maxTokens: body.max_tokens,
      stop: stopsOf(body.stop),
      logprobs,
      pattern: saidOf(body),
      grammar: body.grammar,
    },
    scoresPrompts: echo && logprobs !== undefined,
  };
}

/** Writes an answer in this form. */
class CompletionForm {
  readonly #answer: Answer;
  readonly #hasLogprobs: boolean;
  /** What is written before each answer: its prompt, or nothing */
  readonly #echoes: readonly string[];
  readonly #scorers: readonly CompletionScorer[];
  readonly #base: JsonObject;

  constructor(answer: Answer, { prompt, echo = false }: CompletionBody) {
    const { request, model, modelId } = answer;
    this.#answer = answer;
    this.#hasLogprobs = request.options.logprobs !== undefined;
    const texts = typeof prompt === "string" ? [prompt] : prompt!;
    this.#echoes = request.prompts.map((ids, i) => {
      if (!echo) return "";
      const text = texts[i];
      return typeof text === "string" ? text : model.detokenize(ids);
    });
    const count = request.prompts.length * request.choices;
    this.#scorers = Array.from(
      { length: count },
      () => new CompletionScorer(model.tokenizer, echo),
    );
    this.#base = {
      id: newId("cmpl-"),
      object: "text_completion",
      created: now(),
      model: modelId,
      system_fingerprint: fingerprintOf(model),
    };
  }

  /** The answer, whole. */
  async whole(): Promise<JsonObject> {
    const { request } = this.#answer;
    const answers = await wholeAnswers(this.#answer);
    const summaries = answers.map(({ summary }) => summary);
    return {
      ...this.#base,
      choices: answers.map(({ prompt, text, tokens, summary }, index) => ({
        index,
        text: this.#echo(index) + text,
        logprobs: this.#logprobs(index, [...prompt, ...tokens]),
        finish_reason: summary.finishReason,
      })),
      usage: usageOf(summaries, request.choices),
      timings: timingsOf(summaries[0]),
    };
  }

  /** The answer, piece by piece. */
  async *chunks(hasUsage: boolean): AsyncGenerator<JsonObject, void, void> {
    const base = { ...this.#base, ...hasUsage && { usage: null } };
    const chunk = (
      index: number,
      text: string,
      tokens: readonly ScoredToken[],
      finish_reason: string | null = null,
    ) => ({
      ...base,
      choices: [{
        index,
        text,
        logprobs: tokens.length > 0 ? this.#logprobs(index, tokens) : null,
        finish_reason,
      }],
    });
    const begun = new Set<number>();
    const summaries: Summary[] = [];
    for await (const event of this.#answer.events) {
      const { choice } = event;
      if (!begun.has(choice)) {
        begun.add(choice);
        const tokens = event.type === "prompt" ? event.tokens : [];
        const text = this.#echo(choice);
        if (text !== "") yield chunk(choice, text, tokens);
      }
      if (event.type === "text") {
        const { text, token } = event;
        if (text !== "" || this.#hasLogprobs) {
          yield chunk(choice, text, [token]);
        }
      } else if (event.type === "finish") {
        const { summary } = event;
        summaries[choice] = summary;
        const timings = timingsOf(summary);
        yield { ...chunk(choice, "", [], summary.finishReason), timings };
      }
    }
    if (!hasUsage) return;
    const { choices } = this.#answer.request;
    yield {
      ...base,
      choices: [],
      usage: usageOf(summaries, choices),
      timings: timingsOf(summaries[0]),
    };
  }

  #echo(choice: number): string {
    const { choices } = this.#answer.request;
    return this.#echoes[Math.floor(choice / choices)];
  }

  #logprobs(
    choice: number,
    tokens: readonly ScoredToken[],
  ): CompletionLogprobs | null {
    return this.#hasLogprobs ? this.#scorers[choice].next(tokens) : null;
  }
}
