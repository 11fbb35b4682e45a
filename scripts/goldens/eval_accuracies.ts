/**
 * Accuracies of SmolLM2 beside native llama.cpp's, on many items: writes what is asked as lines, which
 * eval_answers_llama_cpp.py answers, then answers it by culm, as far as llama.cpp has, and counts who is right. All
 * weights are F32, so that neither side rounds activations:
 *
 *   deno run -A cli/main.ts convert .cache/models/SmolLM2-135M-Instruct.Q4_1.gguf -o f32.gguf --type f32
 *   deno run -A scripts/goldens/eval_accuracies.ts asked ../shared/data/tasks > asked.jsonl
 *   python3 scripts/goldens/eval_answers_llama_cpp.py f32.gguf asked.jsonl answers.jsonl
 *   deno run -A scripts/goldens/eval_accuracies.ts compare ../shared/data/tasks f32.gguf answers.jsonl
 *
 * Both take names of tasks behind all else, where not all are wanted.
 *
 * @module
 */
import { TaskFolder } from "../../cli/commands/eval/task_folder.ts";
import {
  type Asked,
  askedOf,
  type EvalTask,
  evalTasks,
  evaluateTask,
  type Item,
  type Outcome,
  PythonSandbox,
  type Scores,
} from "../../lab.ts";
import { load } from "../../mod.ts";

/** How many items of each task; MMLU's are the first ones of each subject. */
const counts = { truthfulqa_mc1: Infinity, mmlu: 500, humaneval: 50 };
const contextSize = 4096;

/** What native llama.cpp said of an item. */
interface Answer {
  readonly logprobs?: readonly number[];
  readonly text?: string;
}

interface LoadedTask {
  readonly task: EvalTask;
  readonly asked: readonly Asked[];
}

async function tasksOf(
  folder: string,
  names: readonly string[],
): Promise<LoadedTask[]> {
  const wanted = Object.entries(counts)
    .filter(([name]) => names.length === 0 || names.includes(name));
  return await Promise.all(
    wanted.map(async ([name, count]) => {
      const task = evalTasks.find((each) => each.name === name)!;
      const subjects = await task.read(new TaskFolder(folder, name).files);
      const limit = Math.ceil(count / subjects.length);
      let left = count;
      const asked = askedOf(task, subjects, { limit }).map((each) => {
        const questions = each.questions.slice(0, left);
        left -= questions.length;
        return { ...each, questions };
      }).filter(({ questions }) => questions.length > 0);
      return { task, asked };
    }),
  );
}

/** An item as the other side needs it: texts alone. */
function lineOf({ until, maxTokens }: EvalTask, preamble: string, item: Item) {
  switch (item.kind) {
    case "choice":
      return {
        candidates: item.candidates.map(({ context, continuation }) => [
          preamble + context,
          continuation,
        ]),
      };
    case "program":
      return { prompt: preamble + item.context, until, maxTokens };
  }
  throw new Error(`Cannot ask for ${item.kind}`);
}

/** Scores of what the other side answered. */
async function scoresOf(
  item: Item,
  { logprobs, text }: Answer,
  python: PythonSandbox,
): Promise<Scores> {
  if (item.kind === "choice") return item.scoresOf(logprobs!);
  if (item.kind !== "program") throw new Error(`Cannot score ${item.kind}`);
  return item.scoresOf([await python.passes(item.programOf(text!))]);
}

/** The largest difference of two log-likelihoods of an item. */
function farthest({ logprobs = [] }: Outcome, theirs: Answer): number {
  return Math.max(
    0,
    ...logprobs.map((ours, i) => Math.abs(ours - theirs.logprobs![i])),
  );
}

async function compare(
  folder: string,
  file: string,
  answersFile: string,
  names: readonly string[],
): Promise<void> {
  const lines = (await Deno.readTextFile(answersFile)).trim().split("\n");
  const answers: Iterator<Answer> = lines.map((line) => JSON.parse(line))
    .values();
  await using model = await load(file, { contextSize, threads: 2 });
  await using python = await PythonSandbox.start();
  console.log("| task | items | culm | llama.cpp | judged alike | farthest |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const { task, asked } of await tasksOf(folder, names)) {
    const items = asked.flatMap(({ questions }) => questions);
    const [metric] = task.metrics;
    let ours = 0, theirs = 0, alike = 0, most = 0;
    const outcomes = evaluateTask(model, task, asked, { python });
    let i = 0;
    for await (const outcome of outcomes) {
      const answer: Answer | undefined = answers.next().value;
      if (!answer) break;
      const right = outcome.scores[metric];
      const isRight = (await scoresOf(items[i++], answer, python))[metric];
      ours += right;
      theirs += isRight;
      alike += Number(right === isRight);
      most = Math.max(most, farthest(outcome, answer));
      if (i % 50 === 0) console.error(`${task.name}: ${i} of ${items.length}`);
    }
    const cells = [task.name, i, ours, theirs, alike, most.toFixed(3)];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

const [what, folder, ...others] = Deno.args;
if (what === "compare") {
  const [file, answersFile, ...names] = others;
  await compare(folder, file, answersFile, names);
} else {
  for (const { task, asked } of await tasksOf(folder, others)) {
    for (const { preamble, questions } of asked) {
      for (const item of questions) {
        console.log(JSON.stringify(lineOf(task, preamble, item)));
      }
    }
  }
}
