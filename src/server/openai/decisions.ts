/** `/v1/decisions`: questions with few answers, by how likely the model finds each. */
import * as v from "valibot";
import { type Present, readBody } from "../body.ts";
import { type Choices, commonLength, scoreChoices } from "../choice_scores.ts";
import { LimitError } from "../../errors.ts";
import { RequestError } from "../errors.ts";
import { flag, object, text } from "../fields.ts";
import type { ChatPrompt } from "../../generate/chat_options.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import { checkTextLength } from "../../generate/text_length.ts";
import { shown } from "../../options.ts";
import { inSlices, TimeSlice } from "../../platform/time_slice.ts";
import { newId } from "../new_id.ts";
import { now } from "../now.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { takeTurn } from "../turn.ts";
import { messagesField, turnsOf } from "./messages.ts";
import { toolFields, variablesOf } from "./tools.ts";

/** Most characters that are cut into tokens: each choice's with its prompt. */
const mostRead = 2 ** 23;

/** Most questions of a request, and most choices of a question. */
const mostQuestions = 64;
const mostChoices = 256;

const whole = v.nullish(
  v.pipe(v.number("a whole number"), v.safeInteger("a whole number")),
);

const question = object({
  id: text,
  type: v.picklist(
    ["boolean", "choice", "number"],
    "boolean, choice or number",
  ),
  question: text,
  choices: v.nullish(
    v.array(v.pipe(v.string(), v.nonEmpty()), "a list of texts"),
  ),
  min: whole,
  max: whole,
  step: whole,
  ends: flag,
}, "an object { type, question }");

const decisionsSchema = v.object({
  model: text,
  messages: v.nullish(messagesField),
  prompt: text,
  questions: v.pipe(
    v.array(question, "a list of objects { type, question }"),
    v.minLength(1, `a list of 1 to ${mostQuestions} questions`),
    v.maxLength(mostQuestions, `a list of 1 to ${mostQuestions} questions`),
  ),
  chat_template_kwargs: toolFields.chat_template_kwargs,
}, "an object");

type DecisionsBody = Present<v.InferOutput<typeof decisionsSchema>>;
type Question = v.InferOutput<typeof question>;

/** A question as it is put to the model. */
interface Asked extends Choices {
  readonly question: Question;
  /** What may be answered, and what it means */
  readonly texts: readonly string[];
  readonly values: readonly (string | number | boolean)[];
}

/** Registers `/v1/decisions`. */
export function decisionRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/v1/decisions", async (call) => {
    const body = await readBody(call, context, decisionsSchema);
    const decided = await takeTurn(
      context,
      askerOf(call, body.model),
      ({ model }) => askedOf(body, model, context),
      async ({ lease: { id, model }, ticket, record, signal }, asked) => {
        using _ = await ticket.place(signal);
        const start = performance.now();
        const ends = endIdsOf(model.tokenizer);
        const scores = await scoreChoices(model.engine, ends, asked, signal);
        const { tokens, cachedTokens } = scores;
        const ms = performance.now() - start;
        context.metrics.addPrompt(tokens - cachedTokens, ms);
        record.addPrompt(tokens, cachedTokens, ms);
        return { id, asked, ...scores };
      },
    );
    const { id, asked, logprobs, tokens, cachedTokens } = decided;
    return call.json({
      id: newId("dec_"),
      object: "decisions",
      created: now(),
      model: id,
      decisions: asked.map((each, i) => decisionOf(each, logprobs[i])),
      usage: {
        prompt_tokens: tokens,
        completion_tokens: 0,
        total_tokens: tokens,
        prompt_tokens_details: { cached_tokens: cachedTokens },
      },
    });
  });
}

function endIdsOf(tokenizer: Tokenizer): number[] {
  return Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
    .filter((id) => tokenizer.isEndOfGeneration(id));
}

/** What was found of a question. */
function decisionOf(
  { question: { id, type }, texts, values }: Asked,
  logprobs: readonly number[],
) {
  const most = Math.max(...logprobs);
  const weights = logprobs.map((logprob) => Math.exp(logprob - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const probabilities = weights.map((weight) => weight / total);
  return {
    ...id != null && { id },
    type,
    answer: values[logprobs.indexOf(most)],
    ...type === "number" && {
      expected: probabilities.reduce(
        (sum, probability, i) => sum + probability * Number(values[i]),
        0,
      ),
    },
    choices: texts.map((text, i) => ({
      text,
      probability: probabilities[i],
      logprob: logprobs[i],
    })),
    // How likely it was to answer by one of them at all.
    mass: logprobs.reduce((sum, logprob) => sum + Math.exp(logprob), 0),
  };
}

/** What is asked, as it is put to the model. */
async function askedOf(
  body: DecisionsBody,
  model: LanguageModel,
  context: ServerContext,
): Promise<Asked[]> {
  const { messages, prompt } = body;
  if ((messages === undefined) === (prompt === undefined)) {
    throw new RequestError(
      400,
      "Cannot decide: give either messages or a prompt",
      { param: "messages" },
    );
  }
  const slice = new TimeSlice();
  const asked: Asked[] = [];
  let read = 0;
  for (const [i, question] of body.questions!.entries()) {
    const param = `questions[${i}]`;
    const { texts, values } = choicesOf(question, param);
    const ends = question.ends ?? messages !== undefined;
    const { text, ids } = promptOf(body, question, model, context);
    for (const choice of ["", ...texts]) {
      const length = text.length + choice.length;
      read += length;
      checkTextLength({ length }, model.tokenizer, model.engine.contextSize);
    }
    if (read > mostRead) {
      throw new LimitError(
        `Cannot decide: the prompts have ${read} characters up to ${param}, counted once for each choice, the limit is ${mostRead}`,
      );
    }
    const put = await behind(model.tokenizer, text, ids, texts);
    const [shorter, longer] = ends ? [] : beginning(put.choices);
    if (longer !== undefined) {
      throw new RequestError(
        400,
        `Cannot tell ${shown(texts[shorter])} from ${
          shown(texts[longer])
        }, which begins so: set ${param}.ends`,
        { param: `${param}.ends` },
      );
    }
    asked.push({ question, texts, values, ends, ...put });
    if (slice.isOver) await slice.yield();
  }
  return asked;
}

/** The text in front of the choices, and its ids. */
function promptOf(
  { messages, prompt, chat_template_kwargs }: DecisionsBody,
  { question }: Question,
  model: LanguageModel,
  { options }: ServerContext,
): Pick<ChatPrompt, "text" | "ids"> {
  if (messages) {
    return model.chatPrompt(turnsOf(asking(messages, question), model), {
      template: options.template,
      variables: variablesOf({ chat_template_kwargs }, options),
    });
  }
  const text = `${prompt}${question ?? ""}`;
  checkTextLength(text, model.tokenizer, model.engine.contextSize);
  const ids = model.tokenize(text, { parseSpecial: true, addEos: false });
  return { text, ids };
}

/** The messages with a question behind them, in the user's turn where that is the last. */
function asking(
  messages: NonNullable<DecisionsBody["messages"]>,
  question: string | null | undefined,
): NonNullable<DecisionsBody["messages"]> {
  if (!question) return messages;
  const last = messages[messages.length - 1];
  if (last.role !== "user") {
    return [...messages, { role: "user", content: question }];
  }
  const content = typeof last.content === "string"
    ? `${last.content}\n\n${question}`
    : [...last.content ?? [], { type: "text", text: question }];
  return [...messages.slice(0, -1), { ...last, content }];
}

/** What may be answered: texts, and what they mean. */
function choicesOf(
  { type, choices, min, max, step }: Question,
  param: string,
): Pick<Asked, "texts" | "values"> {
  const fault = (name: string, why: string): never => {
    const path = `${param}.${name}`;
    throw new RequestError(400, `Cannot decide by ${path}: ${why}`, {
      param: path,
    });
  };
  if (type === "number") {
    if (min == null || max == null) {
      return fault(min == null ? "min" : "max", "it is missing");
    }
    const by = step ?? 1;
    if (by < 1) return fault("step", `it is ${by}, and at least 1`);
    const count = Math.floor((max - min) / by) + 1;
    if (!(count >= 2 && count <= mostChoices)) {
      const why = `${min} to ${max} by ${by} are ${
        Math.max(0, count)
      } numbers, not 2 to ${mostChoices}`;
      return fault("max", why);
    }
    const values = Array.from({ length: count }, (_, i) => min + i * by);
    return { texts: values.map(String), values };
  }
  const texts = choices ?? (type === "boolean" ? ["Yes", "No"] : []);
  const most = type === "boolean" ? 2 : mostChoices;
  if (texts.length < 2 || texts.length > most) {
    return fault("choices", `there are ${texts.length}, not 2 to ${most}`);
  }
  if (new Set(texts).size < texts.length) {
    return fault("choices", "two of them are the same");
  }
  return { texts, values: type === "boolean" ? [true, false] : texts };
}

/**
 * A prompt and the tokens of texts behind it. Prompt and text are cut into tokens
 * together, as they would be in a text; the last tokens of the prompt are the
 * choices' where they would be cut otherwise.
 */
async function behind(
  tokenizer: Tokenizer,
  text: string,
  ids: readonly number[],
  texts: readonly string[],
): Promise<Pick<Asked, "prompt" | "choices">> {
  const encode = (text: string) =>
    tokenizer.encode(text, {
      addSpecial: false,
      addEos: false,
      parseSpecial: true,
    });
  const alone = encode(text);
  const all = await inSlices(texts, (choice) => encode(text + choice));
  const kept = Math.min(
    // A prompt has a token, and a choice too.
    ...all.map((each) =>
      Math.min(commonLength([alone, each]), each.length - 1)
    ),
  );
  return {
    prompt: ids.slice(0, ids.length - (alone.length - kept)),
    choices: all.map((each) => each.slice(kept)),
  };
}

/** Two lists of which the second begins with the first, by their numbers; none where there are no such. */
function beginning(lists: readonly (readonly number[])[]): number[] {
  const texts = lists.map((ids) => `${ids.join(" ")} `);
  for (const [i, text] of texts.entries()) {
    const k = texts.findIndex((other, k) => k !== i && other.startsWith(text));
    if (k >= 0) return [i, k];
  }
  return [];
}
