// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import { parseSparsity, type Sparsity, UsageError } from "../../../mod.ts";
import {
  type EvalTask,
  evalTasks,
  evaluateTask,
  type Item,
  type Outcome,
  questionsOf,
  readItems,
  summarise,
} from "../../../lab.ts";
import type { CommandSpec } from "../../command.ts";
import {
  type EvalColumn,
  toJson,
  toSamples,
  toTable,
  valueOf,
} from "./output.ts";
import { readText } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { loadModel, modelFingerprint } from "../../model_file.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import {
  benchLoadOptions,
  cacheTypeOf,
  hubOptions,
  jsonFlag,
  modelOptions,
  runOptions,
} from "../../options.ts";
import { exists } from "../../output_file.ts";
import { openIfGiven } from "../../output_flags.ts";
import { note, printable, ProgressBar, write } from "../../terminal.ts";
import { Checkpoint, sha256, stateOptions } from "../../checkpoint.ts";

/** What one column runs. */
interface Way {
  readonly name: string;
  readonly model: string | undefined;
  readonly sparsity: Sparsity;
  /** As the flag spells it */
  readonly mode: string;
}

/** A task with its items. */
interface Loaded {
  readonly task: EvalTask;
  readonly path: string;
  readonly items: readonly Item[];
  readonly questions: number;
  readonly hash: string;
}

const names = evalTasks.map(({ name }) => name).join(",");

const { sparsity: one, ...running } = benchLoadOptions;
const { default: _, ...sparsity } = one;

const options = {
  Evaluation: {
    model: {
      ...modelOptions.model,
      type: "strings",
      description: "a column",
    },
    ...hubOptions,
    sparsity: {
      ...sparsity,
      repeated: true,
      description: "a column for each model in this mode (as generate's)",
      read: (text: string) => ({ text, mode: parseSparsity(text) }),
    },
    data: {
      type: "string",
      flag: "--data <folder>",
      description:
        "where the tasks' files lie, as llm-foundry has them: arc_easy.jsonl",
    },
    tasks: {
      type: "string",
      default: names,
      flag: "--tasks <names>",
      description: "tasks, with commas between",
    },
    limit: {
      type: "integer",
      minimum: 1,
      flag: "--limit <n>",
      description: "most questions of a task",
    },
    numFewshot: {
      type: "integer",
      minimum: 0,
      defaultText: "5 in gsm8k, else 0",
      flag: "--num-fewshot <n>",
      description: "examples before each question, a file's first",
    },
    json: { ...jsonFlag, description: "print the results as JSON" },
    samples: {
      type: "string",
      flag: "--samples <file>",
      description: "write what came of each question, a line of JSON each",
    },
    ...stateOptions("eval"),
  },
  Running: { contextSize: runOptions.contextSize, ...running },
} as const satisfies FlagGroups;

type EvalFlags = FlagsOfGroups<typeof options>;

/** Asks a model the questions of benchmarks. */
export const evaluate: CommandSpec = {
  name: "eval",
  summary:
    "score models on benchmarks, with lm-evaluation-harness's prompts and metrics",
  options,
  examples: [
    "culm eval -m model.gguf --data tasks --tasks arc_easy,piqa --limit 200",
    "culm eval -m model.gguf --data tasks --sparsity dense --sparsity top-k=0.1",
  ],
  run,
};

async function run(flags: EvalFlags): Promise<number> {
  const ways = waysOf(flags);
  const tasks = await loadTasks(flags);
  using samples = await openIfGiven(
    flags.samples,
    flags,
    { inputs: tasks.map(({ path }) => path) },
  );
  const columns = await runAll(flags, ways, tasks);
  await write(flags.json ? toJson(columns) : toTable(columns));
  await samples?.writeWhole(toSamples(columns));
  return 0;
}

const exact = [{ text: "exact", mode: parseSparsity("exact") }];

/** Each model in each mode. */
function waysOf({ model, sparsity = exact }: EvalFlags): Way[] {
  const models = model ?? [undefined];
  return models.flatMap((path) =>
    sparsity.map(({ text, mode }) => {
      const file = basename(path ?? "tiny-bamboo");
      const parts = [
        ...(models.length > 1 || sparsity.length === 1 ? [file] : []),
        ...(sparsity.length > 1 ? [text] : []),
      ];
      const name = printable(parts.join(" "));
      return { name, model: path, mode: text, sparsity: mode };
    })
  );
}

async function loadTasks(flags: EvalFlags): Promise<Loaded[]> {
  const { data, tasks } = flags;
  if (data === undefined) {
    throw new BadFlags("Cannot evaluate without questions: give --data FOLDER");
  }
  const asked = tasks.split(",").map((name) => {
    const task = evalTasks.find((each) => each.name === name);
    if (task) return task;
    throw new BadFlags(`Cannot evaluate ${name}: the tasks are ${names}`);
  });
  return await Promise.all(asked.map(async (task) => {
    const path = await findFile(data, task);
    const text = await readText(path);
    const items = readItems(task, text, path);
    const questions = questionsOf(task, items, optionsOf(flags)).length;
    return { task, path, items, questions, hash: await sha256(text) };
  }));
}

async function findFile(folder: string, task: EvalTask): Promise<string> {
  for (const name of task.files) {
    const path = `${folder}/${name}`;
    if (await exists(path)) return path;
  }
  throw new UsageError(
    `Cannot evaluate ${task.name}: there is no ${
      task.files.join(" or ")
    } in ${folder}`,
  );
}

function optionsOf({ numFewshot, limit }: EvalFlags) {
  return { shots: numFewshot, limit };
}

async function runAll(
  flags: EvalFlags,
  ways: readonly Way[],
  tasks: readonly Loaded[],
): Promise<EvalColumn[]> {
  const { state, force, activation } = flags;
  const models = new Set(ways.map(({ model }) => model));
  using work = await Checkpoint.open(
    "eval",
    { state, force, model: ways[0].model },
    [
      await Promise.all(
        Array.from(models, (model) => modelFingerprint({ model, activation })),
      ),
      ways.map(({ mode }) => mode),
      tasks.map(({ task, hash, questions }) => [task.name, hash, questions]),
      [flags.numFewshot, flags.contextSize, cacheTypeOf(flags)],
    ],
    readOutcome,
  );
  using interrupt = new Interrupt();
  const total = ways.length * sum(tasks.map(({ questions }) => questions));
  await work.goOn(total, "questions", async () => {
    for (const [i, way] of ways.entries()) {
      await runColumn(flags, way, tasks, i, work, interrupt);
    }
  });
  return ways.map((way, i) => columnOf(flags, way, tasks, i, work.results));
}

/** An outcome as it lies in a file, or undefined where it is none. */
function readOutcome(value: unknown): Outcome | undefined {
  const { scores, logprobs } = (value ?? {}) as Partial<Outcome>;
  const fits = typeof scores === "object" && scores !== null &&
    Object.values(scores).every(Number.isFinite) &&
    (logprobs === undefined ||
      Array.isArray(logprobs) && logprobs.every(Number.isFinite));
  return fits ? value as Outcome : undefined;
}

/** Runs what is left of a column's questions. */
async function runColumn(
  flags: EvalFlags,
  { name, model: path, sparsity }: Way,
  tasks: readonly Loaded[],
  column: number,
  work: Checkpoint<Outcome>,
  interrupt: Interrupt,
): Promise<void> {
  const each = sum(tasks.map(({ questions }) => questions));
  if (work.results.length >= (column + 1) * each) return;
  await using model = await loadModel(
    { ...flags, model: path, sparsity },
    interrupt,
  );
  const { signal } = interrupt;
  let first = column * each;
  using bar = new ProgressBar(name, "questions", work.results.length - first);
  for (const { task, items, questions } of tasks) {
    const skip = Math.min(questions, work.results.length - first);
    const options = { ...optionsOf(flags), skip, signal };
    for await (const outcome of evaluateTask(model, task, items, options)) {
      await work.add(outcome);
      const done = work.results.length - column * each;
      bar.update(done, each, `${task.name}: `);
    }
    first += questions;
    const outcomes = work.results.slice(first - questions, first);
    const values = summarise(task, outcomes).map((summary) =>
      `${summary.metric} ${valueOf(summary)}`
    );
    note(`${name}, ${task.name}: ${values.join(", ")}`);
  }
}

function columnOf(
  { numFewshot }: EvalFlags,
  { name, model = "tiny-bamboo", mode }: Way,
  tasks: readonly Loaded[],
  column: number,
  results: readonly Outcome[],
): EvalColumn {
  let first = column * sum(tasks.map(({ questions }) => questions));
  return {
    name,
    model,
    sparsity: mode,
    tasks: tasks.map(({ task, questions }) => {
      const outcomes = results.slice(first, first += questions);
      return {
        task: task.name,
        shots: numFewshot ?? task.shots,
        metrics: summarise(task, outcomes),
        outcomes,
      };
    }),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
