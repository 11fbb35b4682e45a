// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import { parseSparsity, type Sparsity } from "../../../mod.ts";
import {
  type Asked,
  askedOf,
  type EvalTask,
  evalTasks,
  evaluateTask,
  humanEval,
  type Outcome,
  type ProgramRunner,
  PythonSandbox,
  shotsOf,
  summarise,
} from "../../../lab.ts";
import type { CommandSpec } from "../../command.ts";
import { bambooTasks, toBambooTable } from "./bamboo.ts";
import {
  type EvalColumn,
  toJson,
  toSamples,
  toTable,
  valueOf,
} from "./output.ts";
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
import { openIfGiven } from "../../output_flags.ts";
import { queueOptions } from "../../queue/queue.ts";
import { note, printable, ProgressBar, write } from "../../terminal.ts";
import { Checkpoint, stateOptions } from "../../checkpoint.ts";
import { askAll } from "./queue_model.ts";
import { TaskFolder } from "./task_folder.ts";

/** What one column runs. */
interface Way {
  readonly name: string;
  readonly model: string | undefined;
  readonly sparsity: Sparsity;
  /** As the flag spells it */
  readonly mode: string;
}

/** A task with what of it is asked. */
interface Loaded {
  readonly task: EvalTask;
  readonly paths: readonly string[];
  readonly asked: readonly Asked[];
  readonly questions: number;
  readonly hash: string;
}

/** Those that need no more than a minute for a small model, and no Python. */
const quickTasks =
  "arc_easy,arc_challenge,hellaswag,piqa,winogrande,lambada_openai,gsm8k";
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
        "where the tasks' files lie: arc_easy.jsonl, mmlu.jsonl.xz, bbh/ …",
    },
    tasks: {
      type: "string",
      defaultText: quickTasks,
      flag: "--tasks <names>",
      description: `tasks, with commas between: ${names}`,
    },
    bamboo: {
      type: "boolean",
      default: false,
      flag: "--bamboo",
      description:
        "the tasks and examples of Bamboo-7B's page, and its table beside",
    },
    limit: {
      type: "integer",
      minimum: 1,
      flag: "--limit <n>",
      description: "most questions of a task, or of each subject of one",
    },
    numFewshot: {
      type: "integer",
      minimum: 0,
      defaultText: "the task's",
      flag: "--num-fewshot <n>",
      description: "examples before each question, the first ones there are",
    },
    k: {
      type: "string",
      defaultText: "1",
      flag: "--k <numbers>",
      description: "humaneval: how many texts may be tried, with commas",
      read: (text: string, name: string) =>
        text.split(",").map((each) => {
          if (/^[1-9]\d{0,3}$/.test(each)) return Number(each);
          throw new BadFlags(
            `Cannot take ${
              JSON.stringify(each)
            } in ${name}: it needs whole numbers from 1`,
          );
        }),
    },
    nSamples: {
      type: "integer",
      minimum: 1,
      maximum: 1000,
      defaultText: "the largest k",
      flag: "--n-samples <n>",
      description: "humaneval: texts for each question, drawn where several",
    },
    json: { ...jsonFlag, description: "print the results as JSON" },
    samples: {
      type: "string",
      flag: "--samples <file>",
      description: "write what came of each question, a line of JSON each",
    },
    ...stateOptions("eval"),
  },
  "Workers of a queue": queueOptions,
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
    "culm eval -m model.gguf --data tasks --bamboo",
  ],
  run,
};

async function run(flags: EvalFlags): Promise<number> {
  const ways = waysOf(flags);
  const tasks = await loadTasks(flags);
  const hasPrograms = tasks.some(({ asked }) =>
    asked[0].questions[0].kind === "program"
  );
  await using python = hasPrograms ? await PythonSandbox.start() : undefined;
  using samples = await openIfGiven(
    flags.samples,
    flags,
    { inputs: tasks.flatMap(({ paths }) => paths) },
  );
  const columns = await runAll(flags, ways, tasks, python);
  const table = flags.bamboo ? toBambooTable : toTable;
  await write(flags.json ? toJson(columns) : table(columns));
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
  const { data } = flags;
  if (data === undefined) {
    throw new BadFlags("Cannot evaluate without questions: give --data FOLDER");
  }
  return await Promise.all(
    tasksOf(flags).map(async (task) => {
      const folder = new TaskFolder(data, task.name);
      const asked = askedOf(task, await task.read(folder.files), {
        shots: flags.numFewshot,
        limit: flags.limit,
      });
      return {
        task,
        asked,
        paths: folder.paths,
        questions: sum(asked.map(({ questions }) => questions.length)),
        hash: await folder.hash(),
      };
    }),
  );
}

/** The tasks that are asked for, as they are asked for. */
function tasksOf(flags: EvalFlags): EvalTask[] {
  const { tasks = quickTasks, bamboo, numFewshot, k, nSamples } = flags;
  if (bamboo && (flags.tasks ?? numFewshot ?? k) !== undefined) {
    throw new BadFlags(
      "Cannot choose --tasks, --num-fewshot or --k with --bamboo: they are its page's",
    );
  }
  const chosen = bamboo ? bambooTasks : tasks.split(",").map((name) => {
    const task = evalTasks.find((each) => each.name === name);
    if (task) return task;
    throw new BadFlags(`Cannot evaluate ${name}: the tasks are ${names}`);
  });
  return chosen.map((task) =>
    task.name === "humaneval" ? humanEval({ k, samples: nSamples }) : task
  );
}

async function runAll(
  flags: EvalFlags,
  ways: readonly Way[],
  tasks: readonly Loaded[],
  python: ProgramRunner | undefined,
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
      tasks.map(({ task, hash, questions }) => [
        task.name,
        hash,
        questions,
        task.shots,
        task.metrics,
        task.samples,
      ]),
      [flags.numFewshot, flags.contextSize, cacheTypeOf(flags)],
    ],
    readOutcome,
  );
  using interrupt = new Interrupt();
  const total = ways.length * sum(tasks.map(({ questions }) => questions));
  await work.goOn(total, "questions", async () => {
    for (const [i, way] of ways.entries()) {
      await runColumn(flags, way, tasks, i, work, python, interrupt);
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
  python: ProgramRunner | undefined,
  interrupt: Interrupt,
): Promise<void> {
  const each = sum(tasks.map(({ questions }) => questions));
  if (work.results.length >= (column + 1) * each) return;
  const { signal } = interrupt;
  if (flags.queue !== undefined) {
    const way = { ...flags, model: path, sparsity };
    const outcomes = await askAll(way, name, tasks, { python, signal });
    await work.keepOnly(column * each);
    for (const outcome of outcomes) await work.add(outcome);
    let first = 0;
    for (const loaded of tasks) {
      tell(name, loaded, outcomes.slice(first, first += loaded.questions));
    }
    return;
  }
  await using model = await loadModel(
    { ...flags, model: path, sparsity },
    interrupt,
  );
  let first = column * each;
  using bar = new ProgressBar(name, "questions", work.results.length - first);
  for (const loaded of tasks) {
    const { task, asked, questions } = loaded;
    const skip = Math.min(questions, work.results.length - first);
    const options = { skip, python, signal };
    for await (const outcome of evaluateTask(model, task, asked, options)) {
      await work.add(outcome);
      const done = work.results.length - column * each;
      bar.update(done, each, `${task.name}: `);
    }
    tell(name, loaded, work.results.slice(first, first += questions));
  }
}

/** Says how a task went. */
function tell(
  name: string,
  { task, asked }: Loaded,
  outcomes: readonly Outcome[],
): void {
  const values = summarise(task, asked, outcomes).slice(0, task.metrics.length)
    .map((summary) => `${summary.metric} ${valueOf(summary)}`);
  note(`${name}, ${task.name}: ${values.join(", ")}`);
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
    tasks: tasks.map(({ task, asked, questions }) => {
      const outcomes = results.slice(first, first += questions);
      const places = asked.flatMap(({ subject, questions }) =>
        questions.map((_, question) => ({ task: subject.name, question }))
      );
      return {
        task: task.name,
        shots: shotsOf(task, { shots: numFewshot }),
        metrics: summarise(task, asked, outcomes),
        outcomes: outcomes.map((outcome, i) => ({ ...places[i], ...outcome })),
      };
    }),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
