import { UsageError } from "../../errors.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import type { Asked } from "./asked.ts";
import type { EvaluatedModel } from "./evaluated_model.ts";
import { type Likelihood, likelihoods } from "./likelihood.ts";
import { candidateIds, promptIds, type ScoredIds } from "./prompt.ts";
import type { Candidate, EvalTask, Item, Scores } from "./task.ts";
import { writeTexts, type Writing } from "./write.ts";

/** What came of one question. */
export interface Outcome {
  /** By metric: 0 or 1, or a share */
  readonly scores: Scores;
  /** Log-likelihood of each candidate, in nats */
  readonly logprobs?: readonly number[];
  /** What the model wrote */
  readonly text?: string;
  /** What the model wrote, where it is asked for programs */
  readonly texts?: readonly string[];
  /** Which of them passed their tests */
  readonly passed?: readonly boolean[];
}

/** Runs programs of a model: a {@linkcode PythonSandbox}. */
export interface ProgramRunner {
  /** Whether a Python program runs to its end. */
  passes(program: string, signal?: AbortSignal): Promise<boolean>;
}

/** How a task is run. */
export interface EvaluateOptions {
  /** Questions to leave out at the start. Default 0. */
  readonly skip?: number;
  /** Runs the programs of tasks that ask for such. Default: they are refused. */
  readonly python?: ProgramRunner;
  /** Stops at the next step. */
  readonly signal?: AbortSignal;
}

/** What tasks ask of a model, which may be elsewhere. */
export interface AskedModel {
  /** Makes ids of prompts */
  readonly tokenizer: Tokenizer;
  /** Tokens that there is room for */
  readonly contextSize: number;
  /** Questions that are asked at the same time */
  readonly together: number;
  /** How likely each of some texts' continuations are */
  readonly likelihoods: (
    texts: readonly ScoredIds[],
    signal?: AbortSignal,
  ) => Promise<readonly Likelihood[]>;
  /** What it writes behind a prompt, as often as is asked for */
  readonly write: (
    how: Writing,
    prompt: readonly number[],
    signal?: AbortSignal,
  ) => Promise<readonly string[]>;
}

/** Questions that run at the same time, so that steps are full. */
const together = 8;

/** A model as tasks ask it. */
function asAsked(model: EvaluatedModel | AskedModel): AskedModel {
  if (!("engine" in model)) return model;
  const { engine, tokenizer } = model;
  return {
    tokenizer,
    contextSize: engine.contextSize,
    together,
    likelihoods: (texts, signal) => likelihoods(engine, texts, signal),
    write: (how, prompt, signal) => writeTexts(model, how, prompt, signal),
  };
}

/**
 * Asks the questions of a task. Gives the outcome of each, in order. What stands
 * before all questions of a subject is the same: a model that keeps the past
 * runs through it once, and through what the candidates of a question have in
 * common. Prompts that do not fit the context are cut at the start.
 *
 * @throws {UsageError} where the task asks for programs, and `python` is missing
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { askedOf, evalTasks, evaluateTask, summarise } from "@culm/culm/lab";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * const task = evalTasks.find(({ name }) => name === "piqa")!;
 * const line = { query: "Question: ice\n", choices: ["melts", "sings"], gold: 0 };
 * const file = { path: "piqa.jsonl", text: JSON.stringify(line) };
 * const asked = askedOf(task, await task.read(() => Promise.resolve(file)));
 * const outcomes = await Array.fromAsync(evaluateTask(model, task, asked));
 * console.log(summarise(task, asked, outcomes));
 * ```
 */
export async function* evaluateTask(
  model: EvaluatedModel | AskedModel,
  task: EvalTask,
  asked: readonly Asked[],
  options: EvaluateOptions = {},
): AsyncGenerator<Outcome, void, void> {
  const own = asAsked(model);
  let { skip = 0 } = options;
  for (const { preamble, questions } of asked) {
    for (let next = skip; next < questions.length;) {
      // The first by itself: the others find its examples evaluated.
      const isFirst = next === skip && Number.isFinite(own.together);
      const count = isFirst ? 1 : own.together;
      const group = questions.slice(next, next + count);
      yield* await Promise.all(
        group.map((item) => answer(own, task, preamble, item, options)),
      );
      next += count;
    }
    skip = Math.max(0, skip - questions.length);
  }
}

async function answer(
  model: AskedModel,
  task: EvalTask,
  preamble: string,
  item: Item,
  { python, signal }: EvaluateOptions,
): Promise<Outcome> {
  const { tokenizer, contextSize } = model;
  const scored = (candidates: readonly Candidate[]) => {
    const texts = candidates.map((each) => {
      const candidate = { ...each, context: preamble + each.context };
      return candidateIds(tokenizer, candidate, contextSize);
    });
    return model.likelihoods(texts, signal);
  };
  const written = (context: string) =>
    model.write(task, promptIds(tokenizer, preamble + context), signal);
  switch (item.kind) {
    case "choice": {
      const found = await scored(item.candidates);
      const logprobs = found.map(({ logprob }) => logprob);
      return { scores: item.scoresOf(logprobs), logprobs };
    }
    case "cloze": {
      const [{ logprob, greedy }] = await scored([item]);
      return { scores: { acc: Number(greedy) }, logprobs: [logprob] };
    }
    case "generation": {
      const [text] = await written(item.context);
      return { scores: item.scoresOf(text), text };
    }
    case "program": {
      if (!python) {
        throw new UsageError(
          `Cannot evaluate ${task.name}: there is nothing to run Python programs by`,
        );
      }
      const texts = await written(item.context);
      const passed = await Promise.all(
        texts.map((text) => python.passes(item.programOf(text), signal)),
      );
      return { scores: item.scoresOf(passed), texts, passed };
    }
  }
}
