/**
 * The one way from a checked request to what the model says: events, which each
 * dialect writes in its own form.
 */
import { makeConstraint } from "../constrain/constraint.ts";
import { constraintOf, constraintOptions } from "../constrain/options.ts";
import { ContextError, UsageError } from "../errors.ts";
import type { GenerateOptions, Summary } from "../generate/generate.ts";
import type { LanguageModel } from "../generate/language_model.ts";
import { valuesOf } from "../options.ts";
import { Taken } from "../platform/opened.ts";
import { Session } from "../generate/session.ts";
import type { SampledToken } from "../sampling/logprobs.ts";
import { checkSamplingOptions } from "../sampling/options.ts";
import type { AnswerFormat, ChatEvent } from "../tokenizer/answer.ts";
import { AnswerParser } from "../tokenizer/answer_parser.ts";
import { merged } from "./merged.ts";
import type { ServerMetrics } from "./metrics.ts";
import { type ScoredToken, scorePrompt } from "./prompt_logprobs.ts";
import type { PromptTurns } from "./prompt_turns.ts";
import type { Ticket } from "./request_queue.ts";
import type { RequestRecord } from "./request_record.ts";
import type { Asker, ServerContext } from "./server_context.ts";
import { beginTurn, type Turn } from "./turn.ts";

/** What is to be answered. */
export interface AnswerRequest {
  /** Each is answered by itself. */
  readonly prompts: readonly (readonly number[])[];
  /** How many answers each prompt has */
  readonly choices: number;
  /** How they are written */
  readonly options: Omit<
    GenerateOptions,
    "session" | "signal" | "onToken" | "onFinish"
  >;
  /** How reasoning and calls of tools are read from them, where they answer chats */
  readonly format?: AnswerFormat;
  /** Whether it is told how likely the tokens of the prompts are, with `options.logprobs` of the likeliest */
  readonly scoresPrompts?: boolean;
}

/** A token of an answer; its text may come with a later one. */
export interface AnswerToken {
  readonly id: number;
  /** NaN where `logprobs` was not asked for */
  readonly logprob: number;
  readonly topLogprobs?: readonly SampledToken[];
}

/** What happens to an answer. `choice` is its number: those of the first prompt come first. */
export type AnswerEvent =
  | {
    readonly type: "prompt";
    readonly choice: number;
    readonly tokens: readonly ScoredToken[];
  }
  | {
    readonly type: "text";
    readonly choice: number;
    /** Often "", where characters are not complete, or may belong to a stop string */
    readonly text: string;
    /** The same read by the request's `format`; what may be a tag comes later */
    readonly parts: readonly ChatEvent[];
    readonly token: AnswerToken;
  }
  | {
    readonly type: "finish";
    readonly choice: number;
    /** What was held back, as it might have been a tag */
    readonly parts: readonly ChatEvent[];
    readonly summary: Summary;
  };

/** An answer on its way. */
export interface Answer {
  /** What the model is called */
  readonly modelId: string;
  readonly model: LanguageModel;
  readonly request: AnswerRequest;
  /** To be read to its end, or given up by `return` */
  readonly events: AsyncGenerator<AnswerEvent, void, void>;
  /** Nobody wants it any more. */
  readonly stop: () => void;
  /** Aborted when it is not written to its end */
  readonly signal: AbortSignal;
}

/**
 * Takes the model that is asked for, lets `requestOf` make a request for it, and
 * begins to answer that.
 *
 * @throws what `requestOf` throws
 * @throws {RequestError} where the model is not there, or the server is too busy
 * @throws {UsageError} for options out of range, and empty prompts
 * @throws {ContextError} where a prompt does not fit the context
 * @throws {UnsupportedError} for what of a schema or a grammar is not supported
 */
export async function startAnswer(
  context: ServerContext,
  asker: Asker,
  requestOf: (model: LanguageModel) => AnswerRequest | Promise<AnswerRequest>,
): Promise<Answer> {
  const { turn, request } = await beginTurn(
    context,
    asker,
    async ({ model }) => {
      const request = limited(await requestOf(model), context);
      checkRequest(model, request);
      await checkConstraint(model, request);
      return request;
    },
  );
  const { lease: { id, model }, ticket, record, signal } = turn;
  const stop = () => turn.stop();
  const { prompts, metrics } = context;
  const answering = {
    model,
    request,
    ticket,
    prompts,
    metrics,
    record,
    signal,
    stop,
  };
  const events = eventsOf(answering, turn);
  return { modelId: id, model, request, events, stop, signal };
}

/** The request within the server's own limits. */
function limited(
  request: AnswerRequest,
  { options }: ServerContext,
): AnswerRequest {
  const { maxTokens: most } = options;
  const { maxTokens = -1 } = request.options;
  if (most < 0 || (maxTokens >= 0 && maxTokens <= most)) return request;
  return { ...request, options: { ...request.options, maxTokens: most } };
}

/** Throws what would be thrown later, before anything was sent. */
function checkRequest(
  { engine, tokenizer }: LanguageModel,
  { prompts, options }: AnswerRequest,
): void {
  const { contextSize } = engine;
  checkSamplingOptions(options, tokenizer.vocabSize);
  for (const { length } of prompts) {
    if (length === 0) throw new UsageError("Cannot answer an empty prompt");
    if (length >= contextSize) {
      throw new ContextError(
        `Cannot answer: the prompt has ${length} tokens, which with one more exceeds the available context size of ${contextSize}`,
        { tokens: length, contextSize },
      );
    }
  }
  for (const id of prompts.flat()) {
    if (Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize) continue;
    throw new UsageError(
      `Cannot answer token ${id}: the vocabulary has ids 0 to ${
        tokenizer.vocabSize - 1
      }`,
    );
  }
}

/** Throws what of a schema or a grammar is not supported. It is ready then for the answers. */
async function checkConstraint(
  { tokenizer }: LanguageModel,
  { options }: AnswerRequest,
): Promise<void> {
  const spec = constraintOf(valuesOf(constraintOptions, options));
  if (!spec) return;
  using _ = await makeConstraint(tokenizer, spec);
}

/** What an answer is written with. */
interface Answering {
  readonly model: LanguageModel;
  readonly request: AnswerRequest;
  readonly ticket: Ticket;
  readonly prompts: PromptTurns;
  readonly metrics: ServerMetrics;
  readonly record: RequestRecord;
  readonly signal: AbortSignal;
  readonly stop: () => void;
}

async function* eventsOf(
  answering: Answering,
  turn: Turn,
): AsyncGenerator<AnswerEvent, void, void> {
  using _ = turn;
  const { prompts, choices } = answering.request;
  try {
    const all = prompts.map((prompt, i) =>
      answersTo(answering, prompt, i * choices)
    );
    yield* all.length === 1 ? all[0] : merged(all, answering.stop);
  } catch (error) {
    answering.record.fail(error);
    throw error;
  }
}

/** The answers to one prompt, which is evaluated once. The first of them has the number `first`. */
async function* answersTo(
  answering: Answering,
  prompt: readonly number[],
  first: number,
): AsyncGenerator<AnswerEvent, void, void> {
  const { model, request, ticket, prompts, signal, stop } = answering;
  const { choices, options, scoresPrompts } = request;
  using place = await ticket.place(signal);
  if (choices === 1 && !scoresPrompts) {
    yield* write(answering, prompt, first, 0);
    return;
  }
  const start = performance.now();
  using sequence = model.engine.createSequence();
  let tokens: readonly ScoredToken[] | undefined;
  let cachedTokens = 0;
  if (scoresPrompts) {
    const { vocabSize } = model.tokenizer;
    const { logprobs = 0 } = options;
    tokens = await scorePrompt(
      model.engine,
      sequence,
      prompt,
      vocabSize,
      logprobs,
      signal,
    );
  } else {
    using _ = await prompts.begin(model.engine, prompt, signal);
    const past = prompt.slice(0, -1);
    sequence.resume(past);
    cachedTokens = sequence.length;
    const rest = past.slice(cachedTokens);
    if (rest.length > 0) {
      await model.engine.evaluate(sequence, rest, "none", signal);
    }
  }
  const shared = { cachedTokens, promptMs: performance.now() - start };
  const { metrics, record } = answering;
  metrics.addPrompt(sequence.length - cachedTokens, shared.promptMs);
  record.addPrompt(prompt.length, cachedTokens, shared.promptMs);
  using stack = new Taken();
  const numbers = Array.from({ length: choices }, (_, i) => i);
  const answers = numbers.map((i) => {
    const session = stack.use(new Session(model.engine, sequence.fork()));
    return oneOf(i, session);
  });
  yield* merged(answers, stop);

  async function* oneOf(
    i: number,
    session: Session,
  ): AsyncGenerator<AnswerEvent, void, void> {
    using _ = i === 0 ? place : await ticket.place(signal);
    const choice = first + i;
    if (tokens) yield { type: "prompt", choice, tokens };
    for await (const event of write(answering, prompt, choice, i, session)) {
      if (event.type !== "finish") yield event;
      else yield { ...event, summary: withPrompt(event.summary, shared) };
    }
  }
}

/** A summary with what the prompt took before its choices parted. */
function withPrompt(
  summary: Summary,
  { cachedTokens, promptMs }: Pick<Summary, "cachedTokens" | "promptMs">,
): Summary {
  return { ...summary, cachedTokens, promptMs: promptMs + summary.promptMs };
}

/** Writes one answer, the `i`th to its prompt. */
async function* write(
  { model, request, prompts, metrics, record, signal }: Answering,
  prompt: readonly number[],
  choice: number,
  i: number,
  session?: Session,
): AsyncGenerator<AnswerEvent, void, void> {
  const { cachePrompt = true } = request.options;
  using evaluating = session || !cachePrompt
    ? undefined
    : await prompts.begin(model.engine, prompt, signal);
  const { seed = -1, ...options } = request.options;
  let summary!: Summary;
  const pieces = model.generate(prompt, {
    ...options,
    // Each a text of its own; the same ones where the request comes again.
    seed: seed < 0 ? seed : seed + i,
    signal,
    session,
    onFinish(given) {
      summary = given;
      metrics.add(given);
      record.addText(given, session === undefined);
    },
  });
  const parser = request.format && new AnswerParser(request.format);
  for await (const { text, ...token } of pieces) {
    evaluating?.[Symbol.dispose]();
    record.addAnswer(choice, text);
    const parts = parser?.push(text) ?? [];
    yield { type: "text", choice, text, parts, token };
  }
  signal.throwIfAborted();
  yield { type: "finish", choice, parts: parser?.finish() ?? [], summary };
}

/** One choice of an answer, whole. */
export interface WholeAnswer {
  /** The prompt's tokens, where they were scored */
  readonly prompt: readonly ScoredToken[];
  readonly text: string;
  /** The same read by the request's `format` */
  readonly parts: readonly ChatEvent[];
  readonly tokens: readonly AnswerToken[];
  readonly summary: Summary;
}

/** Reads an answer to its end: its choices in their order. */
export async function wholeAnswers(
  { events, request: { prompts, choices } }: Answer,
): Promise<WholeAnswer[]> {
  const texts = Array<string>(prompts.length * choices).fill("");
  const tokens: AnswerToken[][] = texts.map(() => []);
  const parts: ChatEvent[][] = texts.map(() => []);
  const scored: (readonly ScoredToken[])[] = texts.map(() => []);
  const summaries: Summary[] = [];
  for await (const event of events) {
    const { choice } = event;
    switch (event.type) {
      case "prompt":
        scored[choice] = event.tokens;
        break;
      case "text":
        texts[choice] += event.text;
        parts[choice].push(...event.parts);
        tokens[choice].push(event.token);
        break;
      case "finish":
        parts[choice].push(...event.parts);
        summaries[choice] = event.summary;
    }
  }
  return texts.map((text, i) => ({
    prompt: scored[i],
    text,
    parts: parts[i],
    tokens: tokens[i],
    summary: summaries[i],
  }));
}
