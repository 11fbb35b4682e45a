import type { Engine } from "../../engine/engine.ts";
import { UsageError } from "../../errors.ts";
import { argmax } from "../../sampling/logprobs.ts";
import { StopStrings } from "../../sampling/stop_strings.ts";
import { Detokenizer } from "../../tokenizer/detokenizer.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { likelihoods } from "./likelihood.ts";
import { candidateIds, preambleOf, promptIds } from "./prompt.ts";
import type { Candidate, ChoiceItem, EvalTask, Item } from "./task.ts";

/** What came of one question. */
export interface Outcome {
  /** 0 or 1, by metric */
  readonly scores: Readonly<Record<string, number>>;
  /** Log-likelihood of each candidate, in nats */
  readonly logprobs?: readonly number[];
  /** What the model wrote */
  readonly text?: string;
}

/** How a task is run. */
export interface EvaluateOptions {
  /** Examples before each question. Default: the task's. */
  readonly shots?: number;
  /** Most questions. Default: all. */
  readonly limit?: number;
  /** Questions to leave out at the start. Default 0. */
  readonly skip?: number;
  /** Stops at the next step. */
  readonly signal?: AbortSignal;
}

/** A model, as far as evaluating needs it. */
export interface EvaluatedModel {
  /** Runs the prompts */
  readonly engine: Engine;
  /** Makes ids of them */
  readonly tokenizer: Tokenizer;
}

/** Questions that run at the same time, so that steps are full. */
const together = 8;
/** Most tokens of a generated answer. */
const mostTokens = 256;

/**
 * The questions among a task's items: all but the first `shots`, which are the
 * examples, and at most `limit`.
 *
 * @throws {UsageError} where none are left
 */
export function questionsOf(
  task: EvalTask,
  items: readonly Item[],
  { shots = task.shots, limit = Infinity }: EvaluateOptions = {},
): Item[] {
  const questions = items.slice(shots, shots + limit);
  if (questions.length > 0) return questions;
  throw new UsageError(
    `Cannot evaluate ${task.name}: ${shots} items are shown as examples, and there are ${items.length}`,
  );
}

/**
 * Runs a task. Gives the outcome of each question, in order. Examples are the
 * task's first items, the same for all questions: a model that keeps the past
 * runs through them once, and through what the candidates of a question have in
 * common. Prompts that do not fit the context are cut at the start.
 *
 * @throws {UsageError} where the items are too few
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { evalTasks, evaluateTask, readItems, summarise } from "@culm/culm/lab";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * const task = evalTasks.find(({ name }) => name === "piqa")!;
 * const line = { query: "Question: ice\n", choices: ["melts", "sings"], gold: 0 };
 * const items = readItems(task, JSON.stringify(line), "questions");
 * const outcomes = await Array.fromAsync(evaluateTask(model, task, items));
 * console.log(summarise(task, outcomes));
 * ```
 */
export async function* evaluateTask(
  model: EvaluatedModel,
  task: EvalTask,
  items: readonly Item[],
  options: EvaluateOptions = {},
): AsyncGenerator<Outcome, void, void> {
  const { shots = task.shots, skip = 0, signal } = options;
  const questions = questionsOf(task, items, options);
  const preamble = preambleOf(items.slice(0, shots));
  for (let next = skip; next < questions.length;) {
    // The first by itself: the others find its examples evaluated.
    const count = next === skip ? 1 : together;
    const group = questions.slice(next, next + count);
    yield* await Promise.all(
      group.map((item) => answer(model, task, preamble, item, signal)),
    );
    next += count;
  }
}

async function answer(
  model: EvaluatedModel,
  task: EvalTask,
  preamble: string,
  item: Item,
  signal?: AbortSignal,
): Promise<Outcome> {
  const { engine, tokenizer } = model;
  const { contextSize } = engine;
  const scored = (candidates: readonly Candidate[]) => {
    const texts = candidates.map((each) => {
      const candidate = { ...each, context: preamble + each.context };
      return candidateIds(tokenizer, candidate, contextSize);
    });
    return likelihoods(engine, texts, signal);
  };
  switch (item.kind) {
    case "choice": {
      const found = await scored(item.candidates);
      const logprobs = found.map(({ logprob }) => logprob);
      return { scores: scoresOf(item, logprobs), logprobs };
    }
    case "cloze": {
      const [{ logprob, greedy }] = await scored([item]);
      return { scores: { acc: Number(greedy) }, logprobs: [logprob] };
    }
    case "generation": {
      const room = contextSize - Math.min(mostTokens, contextSize >> 1);
      const ids = promptIds(tokenizer, preamble + item.context).slice(-room);
      const text = await write(model, ids, task.until ?? [], signal);
      return { scores: item.scoresOf(text), text };
    }
  }
}

const encoder = new TextEncoder();

/** Whether the likeliest choice is the right one, as it is and by bytes. */
function scoresOf(
  { choices, gold }: ChoiceItem,
  logprobs: readonly number[],
): Outcome["scores"] {
  const best = (values: readonly number[]) =>
    values.indexOf(Math.max(...values));
  const perByte = logprobs.map((logprob, i) =>
    logprob / encoder.encode(choices[i]).length
  );
  return {
    acc: Number(best(logprobs) === gold),
    acc_norm: Number(best(perByte) === gold),
  };
}

/** What the model writes behind a prompt, always the likeliest token. */
async function write(
  { engine, tokenizer }: EvaluatedModel,
  prompt: readonly number[],
  until: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  const past = prompt.slice(0, -1);
  using sequence = await engine.startSequence(past, { signal });
  const stops = new StopStrings(until);
  const detokenizer = new Detokenizer(tokenizer);
  let text = "", next = prompt[prompt.length - 1];
  const most = Math.min(mostTokens, engine.contextSize - sequence.length);
  for (let written = 0; written < most; written++) {
    const [logits] = await engine.evaluate(sequence, [next], "last", signal);
    next = argmax(logits);
    if (tokenizer.isEndOfGeneration(next)) break;
    const pushed = stops.push(detokenizer.push(next));
    text += pushed.text;
    if (pushed.stopped !== undefined) return text;
  }
  const last = stops.push(detokenizer.flush());
  return text + last.text + (last.stopped === undefined ? stops.flush() : "");
}
